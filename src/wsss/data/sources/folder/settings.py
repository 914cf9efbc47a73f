"""Settings of a folder of images and a CSV of labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from wsss.data.files import MASK_SUFFIXES, files_below
from wsss.data.sources.base import About, FileSource


class Settings(FileSource):
    """Your own images in a folder with subfolders; labels from a CSV, or of the folders. Masks are optional."""

    implementation = "wsss.data.sources.folder.index:read"
    about = About("your own images", "The terms of your images; state them where you publish masks or weights.")
    places = frozenset({"images", "labels", "masks"})
    masks_from = "prepare_data.masks"
    dataset: Literal["folder"]
    images: Path = Field(description="folder of images (JPEG, PNG, TIFF, BMP, WebP, GIF), searched with its subfolders")
    labels: Path | None = Field(
        None,
        description="CSV, one row per image (or label): columns image,labels, or image and a 0/1 column per class; "
        "null: an image's label is its folder (cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg)",
    )
    masks: Path | None = Field(
        None,
        description="folder of masks named like their images (PNG, TIFF, BMP, GIF; class ids, 255 void); to evaluate",
    )
    classes: list[str] | None = Field(None, description="order of the classes, as in the masks' ids; null: the labels'")
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of images set aside, of every class alike; a column `split` in the CSV decides instead"
    )
    split_seed: int = Field(0, ge=0, description="random seed of the split")
    max_edge: Annotated[int, Field(ge=64)] | None = Field(
        1024, description="pixels; images with a longer edge are shrunk to it once; null: as they are"
    )

    @property
    def has_masks(self) -> bool:
        return self.masks is not None

    def missing(self) -> str | None:
        if not self.images.is_dir():
            return f"images: no folder '{self.images}'"
        if self.labels is not None and not self.labels.is_file():
            return f"labels: no file '{self.labels}'; a CSV of labels is needed"
        if self.masks is not None and not self.masks.is_dir():
            return f"masks: no folder '{self.masks}'"
        return None

    def content(self) -> Iterator[tuple[str, Path]]:
        if self.labels is not None:
            yield "labels", self.labels
        yield from files_below(self.images, "images")
        if self.on_bad_image == "skip":  # a broken mask takes its image out of the table
            yield from self._mask_files()

    def truth(self) -> Iterator[tuple[str, Path]]:
        if self.on_bad_image != "skip":
            yield from self._mask_files()

    def _mask_files(self) -> Iterator[tuple[str, Path]]:
        if self.masks is not None:
            yield from files_below(self.masks, "masks", MASK_SUFFIXES)
