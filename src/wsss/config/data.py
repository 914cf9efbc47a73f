"""Settings of the data sets: one section each, told apart by `dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from wsss.config.common import Section


class ShapesData(Section):
    """Generated images of five kinds of figures on textured ground, with exact masks."""

    dataset: Literal["shapes"]
    train: PositiveInt = Field(500, description="number of training images")
    val: PositiveInt = Field(150, description="number of validation images")


class ImageData(Section):
    """What data sets of files have in common."""

    on_bad_image: Literal["stop", "skip"] = Field(
        "stop",
        description="what a broken image or mask (cut short, missing, of another size …) does: `stop` ends the run "
        "with a list of all, `skip` leaves them out and lists them in skipped.csv",
    )


class VOCData(ImageData):
    """A VOCdevkit year folder: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

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
        "train", description="training images whose masks measure the seeds (the papers use VOC's own 1464)"
    )
    download: bool = Field(
        False, description="where root is not there: get VOC 2012 and SBD (3.4 GB), check them, build trainaug"
    )
    mirrors: list[str] = Field(
        [], description="URLs of folders that hold the archives under their published names; tried before the official"
    )


class COCOData(ImageData):
    """COCO 2014: a folder with annotations/instances_*.json and a folder of images for each of two parts."""

    dataset: Literal["coco"]
    root: Path = Field(Path("data/coco"), description="folder that holds annotations/, train2014/ and val2014/")
    train_part: str = Field("train2014", description="folder of training images, and suffix of their instances JSON")
    val_part: str = Field("val2014", description="folder of validation images, and suffix of their instances JSON")
    measured: PositiveInt | None = Field(
        2000, description="training images, evenly spaced, whose masks measure the seeds; null: all"
    )


class FolderData(ImageData):
    """Your own images in a folder, however nested, and a CSV of image-level labels. Masks are optional."""

    dataset: Literal["folder"]
    images: Path = Field(description="folder of images (JPEG, PNG, TIFF, BMP, WebP, GIF), searched with its subfolders")
    labels: Path = Field(description="CSV, one row an image: columns image,labels, or image and a 0/1 column a class")
    masks: Path | None = Field(
        None, description="folder of masks named like their images (.png, class ids, 255 = void); used only to measure"
    )
    classes: list[str] | None = Field(None, description="order of the classes, as in the masks' ids; null: the CSV's")
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of images set aside, of every class alike; a column `split` in the CSV decides instead"
    )
    split_seed: int = Field(0, ge=0, description="random seed of the split")
    max_edge: Annotated[int, Field(ge=64)] | None = Field(
        1024, description="pixels; images with a longer edge are shrunk to it once; null: as they are"
    )


DataSettings = Annotated[ShapesData | VOCData | COCOData | FolderData, Field(discriminator="dataset")]
