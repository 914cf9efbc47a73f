"""Settings of PASCAL VOC's layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from wsss.data.sources.base import About, FileSource
from wsss.data.sources.voc.layout import IMAGES, Layout, Listed
from wsss.data.text import read_text
from wsss.runtime.contents import Contents

AS_DOWNLOADED = "as downloaded"
DOWNLOAD_NOTE = ".wsss_downloaded"
"""File in the data folder with the digest of the files as downloaded."""


class Settings(FileSource):
    """A VOCdevkit year folder: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

    implementation = "wsss.data.sources.voc.index:read"
    about = About(
        "PASCAL VOC 2012, with the annotations of SBD for trainaug",
        "The images are Flickr users'; use is bound by Flickr's terms, for research as a rule. SBD's annotations "
        "are free for research.",
        (
            "Everingham, Eslami, Van Gool, Williams, Winn, Zisserman: The PASCAL Visual Object Classes Challenge: "
            "A Retrospective. IJCV 111(1), 2015.",
            "Hariharan, Arbeláez, Bourdev, Maji, Malik: Semantic Contours from Inverse Detectors. ICCV 2011.",
        ),
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    )
    places = frozenset({"root", "download", "mirrors"})
    masks_from = "masks in SegmentationClass"
    dataset: Literal["voc"]
    root: Path = Field(Path("data/VOCdevkit/VOC2012"), description="folder that holds JPEGImages/")
    train_list: str = Field("trainaug", description="image list under ImageSets/Segmentation")
    val_list: str = Field("val", description="image list under ImageSets/Segmentation")
    labels: str = Field(
        "annotations",
        description="image-level labels from `annotations` (Annotations/*.xml), `masks`, or the path of a CSV "
        "with columns image,labels (class names separated by spaces)",
    )
    measure_list: str | None = Field(
        "train", description="training images whose masks evaluate the seeds (the papers use VOC's own 1464)"
    )
    download: bool = Field(
        False, description="where root is not there: get VOC 2012 and SBD (3.4 GB), check them, build trainaug"
    )
    mirrors: list[str] = Field(
        [], description="URLs of folders that hold the archives under their published names; tried before the official"
    )

    @property
    def has_masks(self) -> bool:
        there = (self.root / IMAGES).is_dir()
        return Layout(self.root).has_masks if there else True  # of what is to be downloaded

    def missing(self) -> str | None:
        table = None if self.labels in ("annotations", "masks") else Path(self.labels)
        if self.download and not (self.root / IMAGES).is_dir():
            return self.lost(labels=table)
        if (self.root / IMAGES).is_dir():
            lists = {} if self.download else {"train_list": self.train_list, "val_list": self.val_list}
            lost = ((key, Layout(self.root).no_list(name)) for key, name in lists.items())
            return next((f"{key}: {line}" for key, line in lost if line), self.lost(labels=table))
        return (
            f"root: no JPEGImages folder in '{self.root}'; set download: true to get VOC 2012 and SBD, or get "
            "VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and extract it "
            "so that the folder exists, or set root to your VOC folder"
        )

    def digest(self, contents: Contents) -> str:
        """Digest of the files; unchanged downloaded files have the digest of the planned download."""
        if self.download and not (self.root / "JPEGImages").is_dir():
            return AS_DOWNLOADED
        found = super().digest(contents)
        note = self.root / DOWNLOAD_NOTE
        return (
            AS_DOWNLOADED if self.download and note.is_file() and note.read_text(encoding="utf-8") == found else found
        )

    def content(self) -> Iterator[tuple[str, Path]]:
        layout, members = Layout(self.root), {}
        for name in dict.fromkeys((self.train_list, self.val_list, self.measure_list)):
            path = layout.list_file(name or "")
            if name and path.is_file():
                yield f"lists/{name}", path
                if name in (self.train_list, self.val_list):
                    members |= {listed.image_id: listed for listed in _listed(layout, path)}
        yield "classes", self.root / "classes.txt"
        if self.labels not in ("annotations", "masks"):
            yield "labels", Path(self.labels)
        masks = (layout.mask(listed) for listed in members.values())
        yield from self._below_root(map(layout.image, members))
        yield from self._below_root(mask for mask in masks if mask is not None)
        if self.labels == "annotations":
            yield from ((f"annotations/{i}", layout.annotation(i)) for i in members)

    def _below_root(self, files: Iterable[Path]) -> Iterator[tuple[str, Path]]:
        """(path below the root, file) of files that the table names."""
        yield from ((str(file).removeprefix(f"{self.root}/"), file) for file in files)


def _listed(layout: Layout, path: Path) -> list[Listed]:
    """The images of a list; none if it is no text, an error that the stage reports."""
    try:
        return layout.listed(read_text(path))
    except (ValueError, OSError):
        return []
