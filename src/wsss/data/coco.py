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

from wsss.data.palette import voc_palette
from wsss.runtime import write_atomically

if TYPE_CHECKING:
    from pycocotools.coco import COCO

VOID = 255


def coco_index(
    root: Path,
    *,
    train_part: str,
    val_part: str,
    measured: int | None,
    out: Path,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[str], np.ndarray, list[dict[str, str]]]:
    """Class names, palette and rows of index.csv; masks go to `out/masks/{part}`.

    measured: how many training images measure the seeds, evenly spaced; None: all.

    Raises:
        ValueError: a file, an image or a category is missing; names it.
    """
    parts = {"train": _open(root, train_part), "val": _open(root, val_part)}
    categories = {split: _categories(coco) for split, coco in parts.items()}
    if categories["train"] != categories["val"]:
        raise ValueError(f"{root}/annotations: the categories of {train_part} and {val_part} differ")
    class_of = {category: i for i, category in enumerate(categories["train"], start=1)}
    total = sum(len(coco.imgs) for coco in parts.values())
    rows: list[dict[str, str]] = []
    for split, (part, coco) in zip(parts, ((train_part, parts["train"]), (val_part, parts["val"])), strict=True):
        ids = sorted(coco.imgs)
        measures = set(ids) if split == "val" or measured is None else set(_evenly(ids, measured))
        for image_id in ids:
            rows.append(_row(root, part, coco, image_id, class_of, out) | {"split": split})
            rows[-1]["measured"] = str(int(image_id in measures))
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


def _row(root: Path, part: str, coco: COCO, image_id: int, class_of: dict[int, int], out: Path) -> dict[str, str]:
    image = root / part / coco.imgs[image_id]["file_name"]
    if not image.is_file():
        raise ValueError(f"{image}: no such image, though instances_{part}.json lists it")
    annotations = coco.imgToAnns[image_id]
    mask = Path("masks") / part / f"{Path(coco.imgs[image_id]['file_name']).stem}.png"
    if not (out / mask).is_file():
        _write_mask(out / mask, rasterise(coco, image_id, class_of))
    present = sorted({class_of[a["category_id"]] for a in annotations})
    names = {number: coco.cats[category]["name"] for category, number in class_of.items()}
    return {
        "image_id": f"{part}/{Path(coco.imgs[image_id]['file_name']).stem}",
        "image": str(image),
        "mask": str(mask),
        "labels": ";".join(names[number] for number in present),
    }


def rasterise(coco: COCO, image_id: int, class_of: dict[int, int]) -> np.ndarray:
    """(H, W) uint8 class ids of an image, 255 where there is a crowd under no object."""
    image = coco.imgs[image_id]
    mask = np.zeros((image["height"], image["width"]), np.uint8)

    def order(annotation: dict[str, Any]) -> tuple[bool, float]:
        return not annotation.get("iscrowd", 0), -annotation["area"]

    for annotation in sorted(coco.imgToAnns[image_id], key=order):
        if annotation["segmentation"]:
            crowd = annotation.get("iscrowd", 0)
            mask[coco.annToMask(annotation) > 0] = VOID if crowd else class_of[annotation["category_id"]]
    return mask


def _write_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    write_atomically(path, lambda temporary: image.save(temporary, "PNG", optimize=True))
