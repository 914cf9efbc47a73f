"""Reading of masks corrected by hand, and their check against the data set before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        known = {name: record.image_id for name in given if (record := find(name))}
        wanted = {record.image_id if (record := find(name)) else name for name in read_ids(settings.ids.path)}
        _require_all(wanted, set(known.values()), settings)
        given = {name: mask for name, mask in given.items() if known.get(name) in wanted}
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
    return _training_masks(found, dataset, listed=settings.ids is not None)


def _require_all(wanted: set[str], given: set[str], settings: Corrections) -> None:
    missing = sorted(wanted - given)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{settings.ids}: image '{missing[0]}'{more} has no mask in {settings.masks}")


def _training_masks(found: Mapping[str, np.ndarray], dataset: Dataset, *, listed: bool) -> dict[str, np.ndarray]:
    """The masks of training images; logs warnings about those that contradict labels or are of validation images.

    listed: whether the corrected images are listed. If not, masks of background alone are left out where the image has
    labels, as tools export images that nobody drew on.
    """
    given = [record for record in dataset.split("train") if record.image_id in found]
    bare = [] if listed else [r.image_id for r in given if len(r.classes) and not found[r.image_id].any()]
    _warn(bare, "show nothing, though their images have labels, and are left out unless corrections.ids lists them")
    _warn(sorted(set(found) - {r.image_id for r in given}), "are of validation images, which nothing learns from")
    kept = [record for record in given if record.image_id not in set(bare)]
    _warn([r.image_id for r in kept if _unlabelled(found[r.image_id], r)], "show classes that their labels lack")
    lost = [r.image_id for r in kept if len(r.classes) and not np.isin(found[r.image_id], r.classes).any()]
    _warn(lost, "show none of their image's classes")
    return {record.image_id: found[record.image_id] for record in kept}


def _warn(image_ids: Sequence[str], what: str) -> None:
    if image_ids:
        log.warning("corrections: %d %s, e.g. %s", len(image_ids), what, image_ids[0])


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
