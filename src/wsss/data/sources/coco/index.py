"""COCO 2014 (Lin et al. 2014): instances to class masks, painted once.

Categories in the order of their ids become classes 1..80. An image's labels are the categories of all its
annotations. In the mask, crowds are void (255), and objects are painted over them from large to small, so that the
smaller of two overlapping objects is visible; annotations without area are not painted. An image with an object that
has only a box gets no mask, as the mask would show background there; without any outlines, no image gets one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from wsss.data.checks import Entry, Preflight
from wsss.data.files import SUFFIXES, Finder, files_below, without_suffix
from wsss.data.images import read_mask, values_of
from wsss.data.matching import Matcher
from wsss.data.names import checked_classes
from wsss.data.palette import voc_palette, write_mask
from wsss.data.sources.base import Index
from wsss.data.sources.coco.instances import (
    Instances,
    given_area,
    named,
    outline,
    outline_problem,
    paints,
    polygons,
    read_instances,
)
from wsss.data.sources.coco.settings import Settings
from wsss.data.text import read_text
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import counter
from wsss.runtime.targets import fitting, fold, unique_places


def read(settings: Settings, out: Path, _workers: int, preflight: Preflight) -> Index:
    """The table of a COCO folder; its masks are painted to `out/masks`."""
    chosen = settings.model_dump(exclude={"dataset", "on_bad_image"})
    return Index(*coco_index(**chosen, out=out, done=counter("masks"), preflight=preflight))


def coco_index(
    root: Path,
    *,
    train_part: str,
    val_part: str,
    measured: int | None,
    out: Path,
    unlabelled: str = "keep",
    val_list: Path | None = None,
    done: Callable[[int, int], None] = lambda done, total: None,
    preflight: Preflight | None = None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names, palette and rows of index.csv; masks go to `out/masks/{part}`.

    unlabelled: whether images without objects are kept. val_list: names of the validation images to use; None: all.
    measured: number of training images, evenly spaced, whose masks evaluate the seeds; None: all.
    preflight: checks every image; None: one that stops at any problem.

    Raises:
        ValueError: a file, an image or a category is missing; names it.
    """
    preflight = preflight or Preflight()
    train, val = _read_parts(root, train_part, val_part, preflight)
    if unlabelled == "drop":
        train, val = (_kept(part, lambda i, part=part: bool(part.annotations.get(i))) for part in (train, val))
    if val_list is not None:
        val = _listed(val, val_list, val_part, root / val_part)
    class_of = {category: i for i, category in enumerate(train.categories, start=1)}
    entries = {
        "train": _entries(root / train_part, train_part, train, preflight),
        "val": _entries(root / val_part, val_part, val, preflight),
    }
    bad = preflight.check([entry for members in entries.values() for entry in members.values()], len(class_of))
    total = sum(map(len, entries.values())) - len(bad)
    rows: list[dict[str, str]] = []
    for split, instances in (("train", train), ("val", val)):
        kept = {i: entry for i, entry in entries[split].items() if entry.image_id not in bad}
        masked = _masked(instances, kept, preflight)
        measures = masked if split == "val" or measured is None else _evenly(masked, measured)
        masked, measures = set(masked), set(measures)
        for i, entry in kept.items():
            mask = _mask(entry, instances, i, class_of, out, preflight) if i in masked else ""
            row = {"image_id": entry.image_id, "image": str(entry.image), "mask": str(mask), "split": split}
            rows.append(row | {"labels": _labels(instances, i), "measured": str(int(i in measures))})
            done(len(rows), total)
    return ["background", *train.categories.values()], voc_palette(), rows


def _read_parts(root: Path, train_part: str, val_part: str, preflight: Preflight) -> tuple[Instances, Instances]:
    """The instances of both parts, which have equal categories."""
    files = {part: root / "annotations" / f"instances_{part}.json" for part in (train_part, val_part)}
    train, val = (read_instances(files[part], preflight) for part in (train_part, val_part))
    if train.categories != val.categories:
        raise ValueError(f"{root}/annotations: the categories of {train_part} and {val_part} differ")
    checked_classes(files[train_part], list(train.categories.values()))
    parts = {train_part: train, val_part: val}
    preflight.notes += filter(None, (_unlisted(root / name, name, part) for name, part in parts.items()))
    return train, val


def _kept(instances: Instances, wanted: Callable[[Any], bool]) -> Instances:
    return replace(instances, images={i: image for i, image in instances.images.items() if wanted(i)})


def _listed(instances: Instances, path: Path, part: str, folder: Path) -> Instances:
    """The images named in a list, by path or by file name, with or without suffix.

    Raises:
        ValueError: a name matches no image, or several.
    """
    names = {i: PurePath(_below(image["file_name"], part)) for i, image in instances.images.items()}
    match = Matcher(folder, {folder / name: name for name in names.values()}, path.parent)
    listed, lost = set(), []
    for number, line in read_text(path).written():
        try:
            found = match(line)
        except ValueError as error:
            raise ValueError(f"{path} line {number}: {error}") from None
        if found is not None:
            listed.add(found)
        elif line.strip():
            lost.append(line)
    if lost:
        raise ValueError(f"{path}: {len(lost)} image(s) are not in {instances.path}, e.g. {lost[0].strip()}")
    if not listed:
        raise ValueError(f"{path}: the image list is empty")
    return _kept(instances, lambda i: folder / names[i] in listed)


def _evenly(ids: list[Any], count: int) -> list[Any]:
    return [ids[int(i)] for i in np.linspace(0, len(ids) - 1, min(count, len(ids)))]


def _entries(folder: Path, part: str, instances: Instances, preflight: Preflight) -> dict[Any, Entry]:
    """Image id → entry of the images below their part's folder; invalid outlines become problems of these images."""
    names = {i: _below(image["file_name"], part) for i, image in instances.images.items()}
    safe = set(preflight.safe_ids(instances.path, names.values()))
    find = Finder(folder, SUFFIXES)
    names = {i: _there(folder, PurePath(name), find) for i, name in names.items() if name in safe}
    options = {n: [(p := PurePath(part, n)).with_suffix(".png"), p.with_name(f"{p.name}.png")] for n in names.values()}
    ids = {name: place.as_posix().removesuffix(".png") for name, place in unique_places(options).items()}
    entries = {}
    for i, name in names.items():
        size = instances.images[i]["height"], instances.images[i]["width"]
        entries[i] = Entry(ids[name], folder / name, annotated=size)
        for annotation in instances.annotations[i]:
            if outline(annotation) and (problem := outline_problem(annotation, size)):
                where = f"{instances.path}: {named(annotation)} of {entries[i].image}"
                preflight.add(where, problem, "correct it, or take it out", entries[i].image_id)
    return entries


def _unlisted(folder: Path, part: str, instances: Instances) -> str | None:
    """One line on the images below a part's folder that its file does not list; None if there are none."""
    listed = {fold(without_suffix(_below(image["file_name"], part))) for image in instances.images.values()}
    left = [path for name, path in files_below(folder) if fold(without_suffix(name)) not in listed]
    return f"{len(left)} image(s) are not in {instances.path} and are left out, e.g. {left[0]}" if left else None


def _there(folder: Path, name: PurePath, find: Finder) -> PurePath:
    """The name, or that of the only file that differs from it in case, Unicode form or a missing suffix."""
    if (folder / name).is_file():
        return name
    found = find(without_suffix(name.as_posix()))
    return PurePath(found.relative_to(folder)) if found else name


def _below(file_name: str, part: str) -> str:
    """A path relative to the part's folder, with any prefix or separators of other programs removed."""
    return file_name.replace("\\", "/").removeprefix("./").removeprefix(f"{part}/")


def _masked(instances: Instances, kept: dict[Any, Entry], preflight: Preflight) -> list[Any]:
    """The images all of whose objects have outlines, which get a mask."""
    if not instances.has_outlines:
        found = "no annotation has an outline; its images have labels, and no masks to measure with"
        preflight.notes.append(f"{instances.path}: {found}")
        return []
    boxed = [i for i in kept if any(not outline(a) and paints(a) for a in instances.annotations[i])]
    if boxed:
        found = f"{len(boxed)} image(s) have objects with a box alone, e.g. {kept[boxed[0]].image_id}"
        preflight.notes.append(f"{instances.path}: {found}; they have labels, and no masks to measure with")
    without = set(boxed)
    return [i for i in kept if i not in without]


def _labels(instances: Instances, image_id: Any) -> str:
    present = {annotation["category_id"] for annotation in instances.annotations[image_id]}
    return ";".join(name for category, name in instances.categories.items() if category in present)


def _mask(
    entry: Entry, instances: Instances, image_id: Any, class_of: dict[Any, int], out: Path, preflight: Preflight
) -> Path:
    """The path of the image's mask below `out`, painted unless it exists."""
    path = fitting(Path("masks", f"{entry.image_id}.png"))
    if (out / path).is_file():
        mask = read_mask(out / path)
    else:
        mask = rasterise(instances.annotations[image_id], entry.annotated, class_of)
        write_mask(out / path, mask, optimize=True)
    preflight.shown[entry.image_id] = values_of(mask)
    return path


def rasterise(annotations: list[dict[str, Any]], size: tuple[int, int], class_of: dict[Any, int]) -> np.ndarray:
    """(H, W) uint8 class ids of an image's annotations, 255 in crowds that no object covers."""
    mask = np.zeros(size, np.uint8)
    shapes = [(annotation, _shape(annotation, size)) for annotation in annotations if outline(annotation)]

    def order(item: tuple[dict[str, Any], np.ndarray]) -> tuple[bool, float]:
        annotation, shape = item
        return not annotation.get("iscrowd", 0), -given_area(annotation, float(shape.sum()))

    for annotation, shape in sorted(shapes, key=order):
        mask[shape] = IGNORE if annotation.get("iscrowd", 0) else class_of[annotation["category_id"]]
    return mask


def _shape(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, True inside the outline."""
    from pycocotools import mask as rle

    found = outline(annotation)
    if isinstance(found, dict):
        runs = rle.frPyObjects(found, *size) if isinstance(found["counts"], list) else found
    else:
        runs = rle.merge(rle.frPyObjects(polygons(annotation), *size))
    return rle.decode(runs).astype(bool)
