"""PASCAL VOC 2012 (Everingham 2010) and data sets in its layout."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from wsss.config.messages import nearest
from wsss.data.checks import Entry, Preflight
from wsss.data.files import unread_masks
from wsss.data.images import read_mask, values_of
from wsss.data.labels_csv import LabelRow, read_labels
from wsss.data.matching import Matcher, matched
from wsss.data.names import checked_classes, clean_name
from wsss.data.palette import voc_palette
from wsss.data.sources.base import Index
from wsss.data.sources.voc.download import COUNTS, check_counts, get_voc
from wsss.data.sources.voc.layout import IMAGES, MASKS, Layout, Listed
from wsss.data.sources.voc.settings import DOWNLOAD_NOTE, Settings
from wsss.data.xml import plain_tag, read_xml, text_of
from wsss.runtime.contents import Contents
from wsss.runtime.files import write_atomically
from wsss.runtime.labels import IGNORE
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
    """The table of a VOC folder, which is downloaded first with `settings.download`."""
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
        measure_list: training images whose masks evaluate the seeds; None or a missing list: every mask.
        preflight: checks every file; None: one that stops at any problem.

    Raises:
        ValueError: a list, an image, a label or a class name is missing; names the file.
    """
    preflight = preflight or Preflight()
    layout = Layout(root)
    lists = {"train": train_list, "val": val_list}
    splits = {split: _safe(layout, name, preflight) for split, name in lists.items()}
    doubled = {m.image_id for m in splits["train"]} & {m.image_id for m in splits["val"]}
    if doubled:
        found = f"{len(doubled)} image(s) in both splits, e.g. {min(doubled)}"
        preflight.add(layout.list_file(train_list).parent, found, "leave each in one list")
        splits["val"] = [m for m in splits["val"] if m.image_id not in doubled]
    classes = _class_names(root, preflight)
    members = [Member.of(layout, listed) for split in splits.values() for listed in split]
    names = _labels(layout, members, labels, classes, preflight)
    preflight.notes += [*layout.doubled(), *(line for name in MASKS if (line := unread_masks(root / name)))]
    measured = _measured(layout, measure_list, splits, preflight)
    in_train = len(splits["train"])
    rows = [
        {
            "image_id": member.image_id,
            "image": str(member.image),
            "mask": str(member.mask or ""),
            "labels": ";".join(found),
            "split": "train" if number < in_train else "val",
            "measured": str(int(member.mask is not None and member.image_id in measured)),
        }
        for number, (member, found) in enumerate(zip(members, names, strict=True))
    ]
    bad = preflight.check([Entry(m.image_id, m.image, m.mask) for m in members], len(classes))
    return ["background", *classes], voc_palette(), [row for row in rows if row["image_id"] not in bad]


@dataclass(frozen=True)
class Member:
    """A listed image and its files."""

    image_id: str
    image: Path
    mask: Path | None

    @classmethod
    def of(cls, layout: Layout, listed: Listed) -> Member:
        return cls(listed.image_id, layout.image(listed.image_id), layout.mask(listed))


def _class_names(root: Path, preflight: Preflight) -> list[str]:
    """The class names in `classes.txt`, one per line, if it exists; else VOC's."""
    custom = root / "classes.txt"
    if not custom.is_file():
        return VOC_CLASSES
    lines = [line for _, line in preflight.read_text(custom).written()]
    named = [number for number, line in enumerate(lines) if line.strip()]
    return checked_classes(custom, lines[named[0] : named[-1] + 1] if named else [])  # a blank name between is one, too


def _read_list(layout: Layout, name: str, preflight: Preflight) -> list[Listed]:
    if lost := layout.no_list(name):
        raise ValueError(lost)
    path = layout.list_file(name)
    listed = layout.listed(preflight.read_text(path))
    if not listed:
        raise ValueError(f"{path}: the image list is empty")
    if lost := [mask for mask in map(layout.lost_mask, listed) if mask]:
        found = f"{len(lost)} listed mask(s) are not there, e.g. {lost[0]}"
        preflight.notes.append(f"{path}: {found}; those of the image's name in {' or '.join(MASKS)} are used")
    if any(member.numbers for member in listed):
        preflight.notes.append(f"{path}: the numbers beside the image ids are not used; labels are from elsewhere")
    return listed


def _safe(layout: Layout, name: str, preflight: Preflight) -> list[Listed]:
    listed = _read_list(layout, name, preflight)
    safe = set(preflight.safe_ids(layout.list_file(name), [member.image_id for member in listed]))
    return [member for member in listed if member.image_id in safe]


def _measured(
    layout: Layout, measure_list: str | None, splits: dict[str, list[Listed]], preflight: Preflight
) -> set[str]:
    """Images with masks for evaluation: all of val, and those of train in the list, or all without a list."""
    there = measure_list and layout.list_file(measure_list).is_file()
    if measure_list and not there:
        preflight.notes.append(f"{layout.no_list(measure_list)}; every mask measures the seeds (measure_list)")
    listed = _read_list(layout, measure_list, preflight) if there else splits["train"]
    return {member.image_id for member in [*listed, *splits["val"]]}


def _labels(
    layout: Layout, members: list[Member], source: str, classes: list[str], preflight: Preflight
) -> list[list[str]]:
    """Class names per image, in class order; unreadable labels become problems."""
    if source == "annotations":
        files = [layout.annotation(m.image_id) for m in members]
        owners = Counter(file for file, _ in {(f, m.image) for f, m in zip(files, members, strict=True)})
        for file in (file for file, count in owners.items() if count > 1):
            preflight.add(file, f"would be the annotation of {owners[file]} images", "give each its own, by its name")
        found = [_from_annotation(f, m.image_id, preflight) for f, m in zip(files, members, strict=True)]
    elif source == "masks":
        found, files = _from_masks(members, classes, preflight), [m.mask for m in members]
    else:
        rows = _from_csv(Path(source), layout, members, preflight)
        found = [set(row.names) if row else set() for row in rows]
        files = [f"{source} line {row.line}" if row else source for row in rows]
    for file, member, names in zip(files, members, found, strict=True):
        for name in sorted(names - set(classes)):
            unknown = f"unknown class '{name}' of '{member.image_id}'{nearest(name, classes)}"
            preflight.add(file, unknown, f"known: {', '.join(classes)}")
    return [[name for name in classes if name in names] for names in found]


def _from_annotation(path: Path, image_id: str, preflight: Preflight) -> set[str]:
    if not path.is_file():
        advice = "set prepare_data.labels to masks or to a CSV's path"
        preflight.add(path, "no such annotation", advice, image_id)
        return set()
    try:
        root, remark = read_xml(path)
        if remark:
            preflight.notes.append(f"{path.parent}: annotations that are not UTF-8 are read as Windows-1252")
        objects = [found for found in root.iter() if plain_tag(found) == "object"]
        objects = [found for found in objects if text_of(found, "deleted").strip() != "1"]  # of MIT's LabelMe
        if not objects and plain_tag(root) != "annotation":
            raise ValueError(f"its root is <{root.tag[:40]}>")
        if not all(names := [clean_name(text_of(found, "name")) for found in objects]):
            raise ValueError("an object without a name")
        _compare(root, image_id, preflight)
        return set(names)
    except ValueError as error:
        preflight.add(path, f"not an XML annotation ({error})", "copy or download it again", image_id)
        return set()


def _compare(annotation: Element, image_id: str, preflight: Preflight) -> None:
    """Notes an annotation that names another image, and the size that it states."""
    named = PurePosixPath(text_of(annotation, "filename").strip().replace("\\", "/"))
    if named.name and PurePosixPath(image_id).name not in (named.name, named.stem):
        preflight.strange.append(image_id)
    with suppress(ValueError):
        height, width = (int(text_of(annotation, "size", side) or 0) for side in ("height", "width"))
        if height > 0 < width:  # some tools write 0
            preflight.stated[image_id] = height, width


def _from_masks(members: list[Member], classes: list[str], preflight: Preflight) -> list[set[str]]:
    """The classes in each mask."""
    for member in members:
        if member.mask is None:
            found, advice = "no mask to take its labels from", f"put one into {' or '.join(MASKS)}"
            preflight.add(member.image, found, advice, member.image_id)
    with ThreadPoolExecutor() as pool:
        present = list(pool.map(_classes_of_mask, (member.mask for member in members)))
    return [{classes[c - 1] for c in numbers if c <= len(classes)} for numbers in present]


def _classes_of_mask(path: Path | None) -> list[int]:
    """Class ids in a mask; none in an unreadable one, which the preflight reports."""
    try:
        return sorted(values_of(read_mask(path)) - {0, IGNORE}) if path else []
    except ValueError:
        return []


def _from_csv(path: Path, layout: Layout, members: list[Member], preflight: Preflight) -> list[LabelRow | None]:
    """The row of each listed image; other rows are ignored."""
    if not path.is_file():
        raise ValueError(f"prepare_data.labels: '{path}' is neither annotations, masks nor a CSV file")
    folder = layout.root / IMAGES
    relative = {m.image: PurePath(m.image_id + m.image.suffix) for m in members}
    table = read_labels(path)
    preflight.notes += table.remarks
    if any(row.split for row in table.rows):
        preflight.notes.append(f"{path}: its column of splits is not used; the image lists divide the images")
    rows, problems, _ = matched(table, Matcher(folder, relative, path.parent))
    preflight.problems += problems
    missing = [m.image_id for m in members if m.image not in rows]
    if missing:
        preflight.add(path, f"no row for {len(missing)} listed image(s), e.g. {missing[0]}", "give every image a row")
    return [rows.get(m.image) for m in members]
