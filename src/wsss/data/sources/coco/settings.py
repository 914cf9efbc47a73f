"""Settings of COCO's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from wsss.data.sources.base import About, FileSource, files_below


class Settings(FileSource):
    """COCO 2014: a folder with annotations/instances_*.json and a folder of images for each of two parts."""

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
    places = frozenset({"root"})
    dataset: Literal["coco"]
    root: Path = Field(Path("data/coco"), description="folder that holds annotations/, train2014/ and val2014/")
    train_part: str = Field("train2014", description="folder of training images, and suffix of their instances JSON")
    val_part: str = Field("val2014", description="folder of validation images, and suffix of their instances JSON")
    measured: PositiveInt | None = Field(
        2000, description="training images, evenly spaced, whose masks measure the seeds; null: all"
    )

    def missing(self) -> str | None:
        if (self.root / "annotations").is_dir():
            return None
        return f"root: no folder annotations in '{self.root}'; unpack COCO 2014 there (docs/datasets.md)"

    def content(self) -> Iterator[tuple[str, Path]]:
        for role, part in (("train", self.train_part), ("val", self.val_part)):
            yield f"annotations/{role}", self.root / "annotations" / f"instances_{part}.json"
            yield from files_below(self.root / part, role)
