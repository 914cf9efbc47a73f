"""Image-level labels from the folders that images lie in: `photos/cat/1.jpg`, or `photos/train/cat/1.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss.data.labels_csv import SPLIT_NAMES, LabelRow, LabelTable
from wsss.data.names import checked_classes, clean_name
from wsss.data.sheet import annotations_at
from wsss.runtime.targets import fold

NO_CLASS = "background"
"""Folder of images that show none of the classes."""
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
    classes = checked_classes(root, sorted({clean_name(f[depth]) for f in parts} - {NO_CLASS}))
    rows = []
    for image, folders in zip(images, parts, strict=True):
        names = frozenset({clean_name(folders[depth])} - {NO_CLASS})
        split = SPLIT_NAMES[fold(folders[0])] if len(splits) > 1 else ""
        rows.append(LabelRow(0, image.relative_to(root).as_posix(), names, split))
    shown = ", ".join(classes[:4]) + " …" * (len(classes) > 4)
    remark = f"no CSV of labels is given: the label of an image is its folder ({shown})"
    return LabelTable(root, "folders", classes, rows, [remark])
