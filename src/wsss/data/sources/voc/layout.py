"""Paths of images, masks and annotations in a VOC folder, and the syntax of its image lists.

A line is an id (`2007_000032`, spaces allowed) or a pair of paths as in PSA
(`/JPEGImages/x.jpg /SegmentationClassAug/x.png`), optionally followed by numbers (`x 1`), as in VOC's lists per class
and multi-label lists.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from wsss.data.files import MASK_SUFFIXES, SUFFIXES, Finder
from wsss.data.text import Text

IMAGES = "JPEGImages"
MASKS = ("SegmentationClass", "SegmentationClassAug")
_NUMBERS = re.compile(r"(.+?)((?:[\s,]+-?\d+)+)")
_PATHS = re.compile(rf"(\S.*?(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:[\s,]+(\S.*))?", re.IGNORECASE)


class Listed(NamedTuple):
    """An image of a list. mask: its path in the list, if any; numbers: whether the line has numbers."""

    image_id: str
    mask: str | None = None
    numbers: bool = False


class Layout:
    """The files of a VOC folder by image id."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list_file(self, name: str) -> Path:
        """The image list of a name."""
        return self.root / "ImageSets" / "Segmentation" / f"{name}.txt"

    def no_list(self, name: str) -> str | None:
        """A message if there is no image list of this name, else None."""
        path = self.list_file(name)
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt")))
        return None if path.is_file() else f"{path}: no such image list; lists there: {known or 'none'}"

    def listed(self, text: Text) -> list[Listed]:
        """The images of a list, in its order."""
        named = (line if self._images(line) is not None else line.strip() for _, line in text.written())
        return [self._listed(line) for line in named if line]

    def image(self, image_id: str) -> Path:
        """The path of an image; VOC's standard path if the file does not exist."""
        return self._images(image_id) or self.root / IMAGES / f"{image_id}.jpg"

    def mask(self, listed: Listed) -> Path | None:
        """The path of an image's mask: the listed one, else VOC's, else SBD's."""
        return self._listed_mask(listed) or next(filter(None, (find(listed.image_id) for find in self._masks)), None)

    def lost_mask(self, listed: Listed) -> str | None:
        """The path of a listed mask in whose place another folder's mask, or none, is used."""
        found = self.mask(listed)
        same = found is not None and found.parts[-2:] == PurePosixPath(listed.mask or "").parts[-2:]
        return None if same else listed.mask

    def annotation(self, image_id: str) -> Path:
        """The path of an image's XML annotation."""
        return self._annotations(image_id) or self.root / "Annotations" / f"{image_id}.xml"

    def doubled(self) -> list[str]:
        """Remarks on images and masks that have several files."""
        return [line for find in (self._images, *self._masks) if (line := find.remark())]

    @property
    def has_masks(self) -> bool:
        """Whether there is a folder of masks that is not empty."""
        return any(find.files for find in self._masks)

    def _listed_mask(self, listed: Listed) -> Path | None:
        path = PurePosixPath((listed.mask or "").lstrip("/"))
        there = listed.mask is not None and ".." not in path.parts and (self.root / path).is_file()
        return self.root / path if there else None

    def _listed(self, line: str) -> Listed:
        if self._images(line) is not None:
            return Listed(line)
        paths = _PATHS.fullmatch(line.replace("\\", "/"))
        if paths:
            mask = paths[2] if paths[2] and _PATHS.fullmatch(paths[2]) else None
            return Listed(_id_of(paths[1]), mask, paths[2] is not None and mask is None)
        numbers = _NUMBERS.fullmatch(line)
        return Listed(numbers[1], numbers=True) if numbers else Listed(line)

    @cached_property
    def _images(self) -> Finder:
        return Finder(self.root / IMAGES, SUFFIXES)

    @cached_property
    def _masks(self) -> list[Finder]:
        return [Finder(self.root / name, MASK_SUFFIXES) for name in MASKS]

    @cached_property
    def _annotations(self) -> Finder:
        return Finder(self.root / "Annotations", (".xml",))


def _id_of(path: str) -> str:
    """The image id of a listed path: its path below JPEGImages without suffix."""
    below = path.rpartition(f"{IMAGES}/")[2] if f"{IMAGES}/" in path else path
    return PurePosixPath(below).with_suffix("").as_posix()
