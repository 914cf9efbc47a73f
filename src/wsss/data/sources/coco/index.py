"""COCO 2014 (Lin et al. 2014): instances to class masks, painted once.

Categories in the order of their ids become classes 1..80. An image's labels are the categories of all its
annotations. In the mask, crowds are void (255), and objects are painted over them from large to small, so that
the small one lies on top where two overlap; annotations of no area paint nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from wsss.data.checks import Entry, Preflight
from wsss.data.palette import voc_palette
from wsss.data.sources.base import Index
from wsss.data.sources.coco.settings import Settings
from wsss.runtime.files import write_atomically
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import counter

if TYPE_CHECKING:
    from pycocotools.coco import COCO


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
    done: Callable[[int, int], None] = lambda done, total: None,
    preflight: Preflight | None = None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names, palette and rows of index.csv; masks go to `out/masks/{part}`.

    measured: how many training images measure the seeds, evenly spaced; None: all.
    preflight: checks every image; None: one that stops at any problem.

    Raises:
        ValueError: a file, an image or a category is missing; names it.
    """
    preflight = preflight or Preflight()
    parts = {"train": _open(root, train_part), "val": _open(root, val_part)}
    categories = {split: _categories(coco) for split, coco in parts.items()}
    if categories["train"] != categories["val"]:
        raise ValueError(f"{root}/annotations: the categories of {train_part} and {val_part} differ")
    class_of = {category: i for i, category in enumerate(categories["train"], start=1)}
    named = {"train": (train_part, parts["train"]), "val": (val_part, parts["val"])}
    entries = {split: _entries(root, part, coco, preflight) for split, (part, coco) in named.items()}
    bad = preflight.check([entry for members in entries.values() for entry in members.values()], len(class_of))
    total = sum(map(len, entries.values())) - len(bad)
    rows: list[dict[str, str]] = []
    for split, (part, coco) in named.items():
        kept = {i: entry for i, entry in entries[split].items() if entry.image_id not in bad}
        measures = set(kept) if split == "val" or measured is None else set(_evenly(list(kept), measured))
        for i, entry in kept.items():
            rows.append(_row(entry, part, coco, i, class_of, out) | {"split": split})
            rows[-1]["measured"] = str(int(i in measures))
            done(len(rows), total)
    return ["background", *categories["train"].values()], voc_palette(), rows


def _open(root: Path, part: str) -> COCO:
    """The instances of a part.

    Raises:
        ValueError: no such file, or not instances.
    """
    from pycocotools.coco import COCO

    path = root / "annotations" / f"instances_{part}.json"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; get annotations_trainval2014.zip from https://cocodataset.org/#download"
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its timing
            coco = COCO(str(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    except (AssertionError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not COCO instances ({error!r})") from None
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(coco.dataset.get(key), list)]
    if missing:
        raise ValueError(f"{path}: no list '{missing[0]}'; accepted: images, annotations and categories of COCO")
    for annotation in coco.dataset["annotations"]:
        if annotation["image_id"] not in coco.imgs or annotation["category_id"] not in coco.cats:
            raise ValueError(f"{path}: annotation {annotation['id']} is of an image or a category that is not listed")
    return coco


def _categories(coco: COCO) -> dict[int, str]:
    return {category: coco.cats[category]["name"] for category in sorted(coco.cats)}


def _evenly(ids: list[int], count: int) -> list[int]:
    return [ids[int(i)] for i in np.linspace(0, len(ids) - 1, min(count, len(ids)))]


def _entries(root: Path, part: str, coco: COCO, preflight: Preflight) -> dict[int, Entry]:
    """The images whose entries are complete and whose files lie below their part's folder, by id."""
    path = root / "annotations" / f"instances_{part}.json"
    wanted = {"file_name": str, "height": int, "width": int}
    for image_id, image in coco.imgs.items():
        if wrong := [key for key, kind in wanted.items() if not isinstance(image.get(key), kind)]:
            preflight.add(path, f"image {image_id} has no {wrong[0]}", "download the annotations again")
    preflight.stop()
    safe = set(preflight.safe_ids(path, [image["file_name"] for image in coco.imgs.values()]))
    entries = {}
    for image_id, image in sorted(coco.imgs.items()):
        if (file := image["file_name"]) in safe:
            size = image["height"], image["width"]
            entries[image_id] = Entry(f"{part}/{Path(file).stem}", root / part / file, annotated=size)
    return entries


def _row(entry: Entry, part: str, coco: COCO, image_id: int, class_of: dict[int, int], out: Path) -> dict[str, str]:
    annotations = coco.imgToAnns[image_id]
    mask = Path("masks") / f"{entry.image_id}.png"
    if not (out / mask).is_file():
        _write_mask(out / mask, _painted(coco, image_id, class_of, part))
    present = sorted({class_of[a["category_id"]] for a in annotations})
    names = {number: coco.cats[category]["name"] for category, number in class_of.items()}
    return {
        "image_id": entry.image_id,
        "image": str(entry.image),
        "mask": str(mask),
        "labels": ";".join(names[number] for number in present),
    }


def _painted(coco: COCO, image_id: int, class_of: dict[int, int], part: str) -> np.ndarray:
    try:
        return rasterise(coco, image_id, class_of)
    except Exception as error:  # pycocotools says nothing of its own about polygons that are none
        raise ValueError(f"instances_{part}.json: image {image_id} has outlines that are none ({error!r})") from None


def rasterise(coco: COCO, image_id: int, class_of: dict[int, int]) -> np.ndarray:
    """(H, W) uint8 class ids of an image, 255 where there is a crowd under no object."""
    image = coco.imgs[image_id]
    mask = np.zeros((image["height"], image["width"]), np.uint8)

    def order(annotation: dict[str, Any]) -> tuple[bool, float]:
        return not annotation.get("iscrowd", 0), -annotation["area"]

    for annotation in sorted(coco.imgToAnns[image_id], key=order):
        if annotation["segmentation"]:
            crowd = annotation.get("iscrowd", 0)
            mask[coco.annToMask(annotation) > 0] = IGNORE if crowd else class_of[annotation["category_id"]]
    return mask


def _write_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    write_atomically(path, lambda temporary: image.save(temporary, "PNG", optimize=True))
