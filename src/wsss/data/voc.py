"""PASCAL VOC 2012 (Everingham 2010) and anything in its layout."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss.data.dataset import read_mask
from wsss.data.palette import voc_palette

VOC_CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def voc_index(
    root: Path, *, train_list: str, val_list: str, labels: str, measure_list: str | None = None
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names (background first), palette, and rows of index.csv for a VOCdevkit year folder.

    Args:
        labels: `annotations`, `masks` or the path of a CSV with columns image,labels.
        measure_list: training images whose masks measure the seeds; None or a missing list: every mask.

    Raises:
        ValueError: a list, an image, a label or a class name is missing; names the file.
    """
    lists = root / "ImageSets" / "Segmentation"
    splits = {"train": _read_list(lists / f"{train_list}.txt"), "val": _read_list(lists / f"{val_list}.txt")}
    doubled = set(splits["train"]) & set(splits["val"])
    if doubled:
        raise ValueError(f"{lists}: {len(doubled)} image(s) in both splits, e.g. {min(doubled)}")
    custom = root / "classes.txt"
    classes = custom.read_text(encoding="utf-8").split("\n") if custom.is_file() else VOC_CLASSES
    classes = [name for name in classes if name]
    ids = splits["train"] + splits["val"]
    names = dict(zip(ids, _labels(root, ids, labels, classes), strict=True))
    measured = _measured(lists, measure_list, splits)
    rows = [
        _row(root, image_id, split, names[image_id], image_id in measured)
        for split, members in splits.items()
        for image_id in members
    ]
    return ["background", *classes], voc_palette(), rows


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.txt"))
        raise ValueError(f"{path}: no such image list; lists there: {', '.join(known) or 'none'}")
    ids = path.read_text(encoding="utf-8").split()
    if not ids:
        raise ValueError(f"{path}: the image list is empty")
    return ids


def _measured(lists: Path, measure_list: str | None, splits: dict[str, list[str]]) -> set[str]:
    if measure_list is None or not (lists / f"{measure_list}.txt").is_file():
        return {*splits["train"], *splits["val"]}
    return {*_read_list(lists / f"{measure_list}.txt"), *splits["val"]}


def _row(root: Path, image_id: str, split: str, names: list[str], measured: bool) -> dict[str, str]:
    image = root / "JPEGImages" / f"{image_id}.jpg"
    if not image.is_file():
        raise ValueError(f"{image}: no such image, though the list of split '{split}' names it")
    masks = (root / folder / f"{image_id}.png" for folder in ("SegmentationClass", "SegmentationClassAug"))
    mask = next((path for path in masks if path.is_file()), None)
    return {
        "image_id": image_id,
        "image": str(image),
        "mask": str(mask or ""),
        "labels": ";".join(names),
        "split": split,
        "measured": str(int(measured and mask is not None)),
    }


def _labels(root: Path, ids: list[str], source: str, classes: list[str]) -> Iterable[list[str]]:
    """Class names per image, in class order."""
    if source == "annotations":
        found = [_from_annotation(root / "Annotations" / f"{i}.xml") for i in ids]
    elif source == "masks":
        with ThreadPoolExecutor() as pool:
            paths = [root / "SegmentationClass" / f"{i}.png" for i in ids]
            found = [{classes[c - 1] for c in present} for present in pool.map(_classes_of_mask, paths)]
    else:
        found = _from_csv(Path(source), ids)
    for image_id, names in zip(ids, found, strict=True):
        unknown = sorted(names - set(classes))
        if unknown:
            raise ValueError(f"labels of '{image_id}': unknown class '{unknown[0]}'; known: {', '.join(classes)}")
    return [[name for name in classes if name in names] for names in found]


def _from_annotation(path: Path) -> set[str]:
    if not path.is_file():
        raise ValueError(f"{path}: no such annotation; set prepare_data.labels to masks or to a CSV's path")
    try:
        return {obj.findtext("name", "") for obj in ElementTree.parse(path).iter("object")}
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: not an XML annotation ({error})") from error


def _classes_of_mask(path: Path) -> list[int]:
    return [int(c) for c in np.unique(read_mask(path)) if c not in (0, 255)]


def _from_csv(path: Path, ids: list[str]) -> list[set[str]]:
    if not path.is_file():
        raise ValueError(f"prepare_data.labels: '{path}' is neither annotations, masks nor a CSV file")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = {row["image"]: set(row["labels"].split()) for row in csv.DictReader(file)}
    missing = [i for i in ids if i not in rows]
    if missing:
        raise ValueError(f"{path}: no row for {len(missing)} listed image(s), e.g. {missing[0]}")
    return [rows[i] for i in ids]
