"""Image-level labels from the folders that images lie in: `photos/cat/1.jpg`, or `photos/train/cat/1.jpg`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsss.data.files import is_passed_over
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
_MASK = r"(?:mask|label|annotation|segmentation|seg|gt)"
_MASK_FILE = re.compile(
    rf"(.+?)[ _.-](?:gtfine[ _.-])?{_MASK}(?:s|ids)?(?:[ _.-]\d+)?|{_MASK}s?[ _.-](.+)", re.IGNORECASE
)
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
    _refuse_wrapper(root, parts, depth)
    classes = checked_classes(root, sorted({clean_name(f[depth]) for f in parts} - {NO_CLASS}))
    rows = []
    for image, folders in zip(images, parts, strict=True):
        names = frozenset({clean_name(folders[depth])} - {NO_CLASS})
        split = SPLIT_NAMES[fold(folders[0])] if len(splits) > 1 else ""
        rows.append(LabelRow(0, image.relative_to(root).as_posix(), names, split))
    shown = ", ".join(classes[:4]) + " …" * (len(classes) > 4)
    remark = f"no CSV of labels is given: the label of an image is its folder ({shown})"
    return LabelTable(root, "folders", classes, rows, [remark, *_bare(root, parts, depth), *_twins(images)])


def _refuse_wrapper(root: Path, parts: Sequence[tuple[str, ...]], depth: int) -> None:
    """Raises ValueError if all images lie in one folder's folders, which are rather the classes."""
    deep = all(len(folders) > depth + 1 for folders in parts) and len({folders[depth] for folders in parts}) == 1
    inner = {folders[depth + 1] for folders in parts} if deep else set()
    if len(inner) > 1:
        told = f"holds folders ('{min(inner)}' …) and is the only class"
        raise ValueError(f"{root / Path(*parts[0][: depth + 1])}: {told}; {ACCEPTED}: name the folder that holds those")


def _bare(root: Path, parts: Sequence[tuple[str, ...]], depth: int) -> Iterator[str]:
    """A remark on folders in the place of classes that hold no image."""
    there = {root.joinpath(*folders[: depth + 1]) for folders in parts}
    beside = sorted(f for top in {folder.parent for folder in there} for f in top.iterdir() if f not in there)
    if bare := [folder for folder in beside if folder.is_dir() and not is_passed_over(folder)]:
        yield f"{len(bare)} folder(s) hold no image that is read and are no classes, e.g. {bare[0]}"


def _twins(images: Sequence[Path]) -> Iterator[str]:
    """A remark on images that differ in nothing but the suffix, of which one may be a mask."""
    count = Counter(image.with_suffix("") for image in images)
    if twins := [image for image in images if count[image.with_suffix("")] > 1]:
        shown = f"{twins[0]} and {twins[1].name}"
        yield f"{len(twins)} images differ in nothing but their suffix, e.g. {shown}; are some of them masks?"


def _refuse_others(root: Path, images: Sequence[Path], depth: int) -> None:
    """Raises ValueError for folders that are no classes by their names, and for masks beside their images."""
    there = {image.with_suffix("") for image in images}
    for image in images:
        folders = image.relative_to(root).parts[depth:-1]
        for depth_below, folder in enumerate(folders):
            if depth_below and fold(folder) in SPLIT_NAMES:
                raise ValueError(f"{image}: its folder '{folder}' is a split below a class; {ACCEPTED}")
            if plain_header(folder) in (_BELOW if depth_below else _HOLDERS):
                raise ValueError(f"{image}: its folder '{folder}' is by its name no class; {ACCEPTED}")
        named = _MASK_FILE.fullmatch(image.stem)
        if named and image.with_name(named[1] or named[2]) in there:
            raise ValueError(f"{image}: is by its name a mask of the image beside it; move such files elsewhere")
