"""Reading of masks corrected by hand, and their check against the data set before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from wsss.config.stages import Corrections
from wsss.data.checks import Preflight
from wsss.data.dataset import Dataset, Record
from wsss.data.formats.reading import read_annotations
from wsss.data.matching import ByName
from wsss.data.sheet import read_ids
from wsss.data.shrink import shrunk_size
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import log


def read_corrections(settings: Corrections, dataset: Dataset) -> dict[str, np.ndarray]:
    """Image id → mask (H, W) uint8 of class ids, of each corrected training image, in the table's order.

    A mask of an image that prepare_data shrank may have the original size.

    Raises:
        ValueError: a mask of no image, of another size or with unknown classes; one line on the first problem.
    """
    source = settings.masks.path
    find = ByName(dataset)
    given = read_annotations(source, settings.format, dataset.class_names, find.size)
    if settings.ids is not None:
        wanted = set(read_ids(settings.ids.path))
        _require_all(wanted, given, settings)
        given = {image_id: mask for image_id, mask in given.items() if image_id in wanted}
    preflight = Preflight()
    found: dict[str, np.ndarray] = {}
    for name, mask in given.items():
        record, where = find(name), f"{source}, mask of '{name}'"
        if record is None:
            preflight.add(where, f"no image of the data set has this id{find.nearest(name)}", "name it like its image")
        elif record.image_id in found:
            preflight.add(where, f"image '{record.image_id}' has two masks", "leave one")
        elif (fitted := _fitted(mask, record, dataset.folder)) is None:
            height, width = record.size
            preflight.add(where, f"size {mask.shape[::-1]}, but its image has {(width, height)}", "export it again")
        else:
            found[record.image_id] = fitted
    preflight.stop()
    return _training_masks(found, dataset)


def _require_all(wanted: set[str], given: Mapping[str, np.ndarray], settings: Corrections) -> None:
    missing = sorted(wanted - set(given))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{settings.ids}: image '{missing[0]}'{more} has no mask in {settings.masks}")


def _training_masks(found: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, np.ndarray]:
    """The masks of training images; logs warnings about masks of validation images and unlabelled classes."""
    masks = {r.image_id: found[r.image_id] for r in dataset.split("train") if r.image_id in found}
    if idle := sorted(set(found) - set(masks)):
        log.warning("corrections: %d are of validation images, which nothing learns from, e.g. %s", len(idle), idle[0])
    odd = [r.image_id for r in dataset.split("train") if r.image_id in masks and _unlabelled(masks[r.image_id], r)]
    if odd:
        log.warning("corrections: %d show classes that their labels lack, e.g. %s", len(odd), odd[0])
    return masks


def _unlabelled(mask: np.ndarray, record: Record) -> set[int]:
    return set(np.unique(mask).tolist()) - {0, IGNORE, *record.classes.tolist()}


def _fitted(mask: np.ndarray, record: Record, folder: Path) -> np.ndarray | None:
    """The mask at its image's size; None if its size is that of neither the image nor its original.

    folder: of prepare_data, with the images that it shrank.
    """
    if mask.shape == record.size:
        return mask
    edge = max(record.size)
    larger = max(mask.shape) > edge and shrunk_size(mask.shape, edge) == record.size
    if larger and record.image.is_relative_to(folder / "shrunk"):
        return np.array(Image.fromarray(mask).resize(record.size[::-1], Image.Resampling.NEAREST))
    return None
