"""Settings of COCO's layout."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from wsss.data.files import files_below
from wsss.data.sources.base import About, FileSource
from wsss.runtime.files import regular

_OUTLINE = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[\s*[-\d]|\{)')


class Settings(FileSource):
    """COCO 2014: a folder with annotations/instances_*.json, and a folder of images for each of its two parts."""

    implementation = "wsss.data.sources.coco.index:read"
    about = About(
        "COCO 2014",
        "Annotations: CC BY 4.0. The images are Flickr users', each under the licence that the JSON names.",
        (
            "Lin, Maire, Belongie, Bourdev, Girshick, Hays, Perona, Ramanan, Zitnick, Dollár: Microsoft COCO: Common "
            "Objects in Context. ECCV 2014.",
        ),
        "https://cocodataset.org/#termsofuse",
    )
    places = frozenset({"root", "val_list"})
    masks_from = "outlines in the annotations"
    dataset: Literal["coco"]
    root: Path = Field(Path("data/coco"), description="folder that holds annotations/, train2014/ and val2014/")
    train_part: str = Field("train2014", description="folder of training images, and suffix of their instances JSON")
    val_part: str = Field("val2014", description="folder of validation images, and suffix of their instances JSON")
    unlabelled: Literal["keep", "drop"] = Field(
        "keep",
        description="images without any object; drop: 82 081 of 82 783 for training are left, 40 137 for validation",
    )
    val_list: Path | None = Field(
        None,
        description="text file of the validation images to use, one name a line; null: all",
    )
    measured: PositiveInt | None = Field(
        2000, description="training images, evenly spaced, whose masks evaluate the seeds; null: all"
    )

    @property
    def has_masks(self) -> bool:
        files = [self.root / "annotations" / f"instances_{part}.json" for part in (self.train_part, self.val_part)]
        there = [file for file in files if file.is_file() and file.stat().st_size]
        return not there or any(_has_outlines(file, *_state(file)) for file in there)

    def missing(self) -> str | None:
        if not (self.root / "annotations").is_dir():
            return f"root: no folder annotations in '{self.root}'; unpack COCO 2014 there (docs/datasets.md)"
        for key, part in (("train_part", self.train_part), ("val_part", self.val_part)):
            if lost := self.lost(**{key: self.root / "annotations" / f"instances_{part}.json"}):
                return lost
            if not (self.root / part).is_dir():
                return f"{key}: no folder '{self.root / part}'"
        return self.lost(val_list=self.val_list)

    def content(self) -> Iterator[tuple[str, Path]]:
        if self.val_list is not None:
            yield "lists/val", self.val_list
        for role, part in (("train", self.train_part), ("val", self.val_part)):
            yield f"annotations/{role}", self.root / "annotations" / f"instances_{part}.json"
            yield from files_below(self.root / part, role)


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache
def _has_outlines(file: Path, _size: int, _time: int) -> bool:
    """Whether any annotation has an outline; reads the file only up to the first one."""
    with regular(file).open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return b"\0" in content[:4] or _OUTLINE.search(content) is not None  # UTF-16 is looked into later
