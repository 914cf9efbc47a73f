"""PASCAL VOC 2012 (Everingham 2010) and anything in its layout."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from wsss.data.checks import Entry, Preflight
from wsss.data.dataset import read_mask
from wsss.data.labels_csv import read_labels
from wsss.data.palette import voc_palette
from wsss.data.sources.base import Index
from wsss.data.sources.voc.download import COUNTS, check_counts, get_voc
from wsss.data.sources.voc.settings import DOWNLOAD_NOTE, Settings
from wsss.runtime.contents import Contents
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import log

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


def read(settings: Settings, _out: Path, _workers: int, preflight: Preflight) -> Index:
    """The table of a VOC folder, downloaded first if the settings say so."""
    if settings.download:
        fresh = not (settings.root / "JPEGImages").is_dir()
        get_voc(settings.root, settings.mirrors)
        if fresh:
            there = settings.model_copy(update={"download": False})
            write_atomically(settings.root / DOWNLOAD_NOTE, there.digest(Contents()))
    else:
        used = {settings.train_list, settings.val_list, settings.measure_list}
        try:
            check_counts(settings.root, {name: COUNTS[name] for name in COUNTS if name in used})
        except ValueError as error:
            log.warning("%s; it is taken as it is", error)
    lists = settings.model_dump(include={"train_list", "val_list", "labels", "measure_list"})
    return Index(*voc_index(settings.root, **lists, preflight=preflight))


def voc_index(
    root: Path,
    *,
    train_list: str,
    val_list: str,
    labels: str,
    measure_list: str | None = None,
    preflight: Preflight | None = None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names (background first), palette, and rows of index.csv for a VOCdevkit year folder.

    Args:
        labels: `annotations`, `masks` or the path of a CSV with columns image,labels.
        measure_list: training images whose masks measure the seeds; None or a missing list: every mask.
        preflight: checks every file; None: one that stops at any problem.

    Raises:
        ValueError: a list, an image, a label or a class name is missing; names the file.
    """
    preflight = preflight or Preflight()
    lists = root / "ImageSets" / "Segmentation"
    paths = {"train": lists / f"{train_list}.txt", "val": lists / f"{val_list}.txt"}
    splits = {split: preflight.safe_ids(path, _read_list(path)) for split, path in paths.items()}
    doubled = set(splits["train"]) & set(splits["val"])
    if doubled:
        preflight.add(lists, f"{len(doubled)} image(s) in both splits, e.g. {min(doubled)}", "leave each in one list")
        splits["val"] = [image_id for image_id in splits["val"] if image_id not in doubled]
    classes = _class_names(root)
    ids = splits["train"] + splits["val"]
    names = dict(zip(ids, _labels(root, ids, labels, classes, preflight), strict=True))
    measured = _measured(lists, measure_list, splits)
    rows = [
        _row(root, image_id, split, names[image_id], image_id in measured)
        for split, members in splits.items()
        for image_id in members
    ]
    entries = [Entry(r["image_id"], Path(r["image"]), Path(r["mask"]) if r["mask"] else None) for r in rows]
    bad = preflight.check(entries, len(classes))
    return ["background", *classes], voc_palette(), [row for row in rows if row["image_id"] not in bad]


def _class_names(root: Path) -> list[str]:
    """Names in `classes.txt`, a line each, if there is one; else VOC's."""
    custom = root / "classes.txt"
    if not custom.is_file():
        return VOC_CLASSES
    return [name for name in custom.read_text(encoding="utf-8").split("\n") if name]


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


def _labels(root: Path, ids: list[str], source: str, classes: list[str], preflight: Preflight) -> Iterable[list[str]]:
    """Class names per image, in class order; what cannot be read is a problem, and has none."""
    if source == "annotations":
        found = [_from_annotation(root / "Annotations" / f"{i}.xml", i, preflight) for i in ids]
    elif source == "masks":
        with ThreadPoolExecutor() as pool:
            present = list(pool.map(lambda i: _classes_of_mask(root / "SegmentationClass" / f"{i}.png"), ids))
        found = [{classes[c - 1] for c in numbers if c <= len(classes)} for numbers in present]
    else:
        found = _from_csv(Path(source), ids, preflight)
    for image_id, names in zip(ids, found, strict=True):
        for name in sorted(names - set(classes)):
            preflight.add(f"labels of '{image_id}'", f"unknown class '{name}'", f"known: {', '.join(classes)}")
    return [[name for name in classes if name in names] for names in found]


def _from_annotation(path: Path, image_id: str, preflight: Preflight) -> set[str]:
    if not path.is_file():
        advice = "set prepare_data.labels to masks or to a CSV's path"
        preflight.add(path, "no such annotation", advice, image_id)
        return set()
    try:
        return {obj.findtext("name", "") for obj in ElementTree.parse(path).iter("object")}
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        preflight.add(path, f"not an XML annotation ({error})", "copy or download it again", image_id)
        return set()


def _classes_of_mask(path: Path) -> list[int]:
    """Class ids in a mask; none in one that cannot be read, which the preflight names."""
    try:
        return [int(c) for c in np.unique(read_mask(path)) if c not in (0, 255)]
    except ValueError:
        return []


def _from_csv(path: Path, ids: list[str], preflight: Preflight) -> list[set[str]]:
    if not path.is_file():
        raise ValueError(f"prepare_data.labels: '{path}' is neither annotations, masks nor a CSV file")
    rows: dict[str, set[str]] = {}
    for row in read_labels(path).rows:
        if rows.setdefault(row.image, set(row.names)) != row.names:
            preflight.add(path, f"line {row.line}: '{row.image}' has two different rows", "leave one")
    missing = [i for i in ids if i not in rows]
    if missing:
        preflight.add(path, f"no row for {len(missing)} listed image(s), e.g. {missing[0]}", "give every image a row")
    return [rows.get(i, set()) for i in ids]
