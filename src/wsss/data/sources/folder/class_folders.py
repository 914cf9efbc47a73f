"""Image-level labels from the folders that images lie in: `photos/cat/1.jpg`, or `photos/train/cat/1.jpg`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from wsss.data.labels_csv import SPLIT_NAMES, LabelRow, LabelTable
from wsss.data.names import checked_classes, clean_name
from wsss.data.sheet import annotations_at, plain_header
from wsss.runtime.targets import fold

NO_CLASS = "background"
"""Folder of images that show none of the classes."""
_MASKS = {"masks", "labels", "annotations", "segmentations", "gt", "groundtruth"}
_HOLDERS = _MASKS | {"images", "image", "imgs", "img", "test"}
"""Folders that are by their names no classes."""
_BELOW = _MASKS | {"mask", "label", "annotation", "segmentation"}
"""Folders that hold masks by their names, in the folder of a class."""
_MASK_FILE = re.compile(r"(.+?)[ _.-](mask|label|annotation|segmentation|seg|gt)s?([ _.-]\d+)?", re.IGNORECASE)
ACCEPTED = f"accepted without a CSV: folders of classes ('{NO_CLASS}' for none), or train and val with such folders"


def labels_of_folders(root: Path, images: Sequence[Path]) -> LabelTable:
    """A row for each image, in their order: its class is its folder below `root`, or below `root`'s train and val.

    Folders within a class's folder are of the same class.

    Raises:
        ValueError: an image lies in no such folder, or a name cannot be a class.
    """
    if reader := annotations_at(root):
        raise ValueError(f"{root}: without a CSV of labels, {reader}")
    parts = [image.relative_to(root).parts[:-1] for image in images]
    outer = {fold(folders[0]) for folders in parts if folders}
    splits = outer & SPLIT_NAMES.keys()
    if other := next(iter(sorted(outer - SPLIT_NAMES.keys())), None) if splits else None:
        raise ValueError(f"{root}: its folders '{min(splits)}' and '{other}' are a split and a class; {ACCEPTED}")
    depth = 1 if splits else 0
    if loose := next((image for image, folders in zip(images, parts, strict=True) if len(folders) <= depth), None):
        raise ValueError(f"{loose}: lies in no folder of a class; {ACCEPTED}")
    _refuse_others(root, images, depth)
    classes = checked_classes(root, sorted({clean_name(f[depth]) for f in parts} - {NO_CLASS}))
    rows = []
    for image, folders in zip(images, parts, strict=True):
        names = frozenset({clean_name(folders[depth])} - {NO_CLASS})
        split = SPLIT_NAMES[fold(folders[0])] if len(splits) > 1 else ""
        rows.append(LabelRow(0, image.relative_to(root).as_posix(), names, split))
    shown = ", ".join(classes[:4]) + " …" * (len(classes) > 4)
    remark = f"no CSV of labels is given: the label of an image is its folder ({shown})"
    return LabelTable(root, "folders", classes, rows, [remark])


def _refuse_others(root: Path, images: Sequence[Path], depth: int) -> None:
    """Raises ValueError for folders that are no classes by their names, and for masks beside their images."""
    there = {image.with_suffix("") for image in images}
    for image in images:
        folders = image.relative_to(root).parts[depth:-1]
        for depth_below, folder in enumerate(folders):
            if plain_header(folder) in (_BELOW if depth_below else _HOLDERS):
                raise ValueError(f"{image}: its folder '{folder}' is by its name no class; {ACCEPTED}")
        named = _MASK_FILE.fullmatch(image.stem)
        if named and image.with_name(named[1]) in there:
            raise ValueError(f"{image}: is by its name a mask of the image beside it; move such files elsewhere")
