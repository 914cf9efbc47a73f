"""Reads COCO's instances files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.checks import Preflight
from wsss.data.files import without_suffix
from wsss.data.formats.coco.settings import Settings
from wsss.data.formats.regions import SizeOf, annotation_file, canvas, class_id, filled
from wsss.data.rle import filled_runs, run_lengths
from wsss.data.sources.coco.instances import (
    given_area,
    named,
    outline,
    outline_problem,
    polygons,
    read_instances,
)
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import log
from wsss.runtime.records import in_file


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], _size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every image of a JSON file, or of instances.json in a folder.

    Smaller regions are painted over larger ones, and all over crowds, which are void.

    Raises:
        ValueError: not such a file, an unknown class, or a region that does not fit its image.
    """
    path = annotation_file(source, "instances.json")
    found = read_instances(path, Preflight())
    crowds = [region for regions in found.annotations.values() for region in regions if region.get("iscrowd")]
    if crowds:
        log.warning(
            "%s: %d region(s) are crowds (iscrowd: 1) and become void, e.g. %s", path, len(crowds), named(crowds[0])
        )
    for i, image in found.images.items():
        where = f"{path}, image '{image['file_name']}'"
        label = canvas((image["height"], image["width"]), where)
        for region in sorted(found.annotations[i], key=lambda r: (not r.get("iscrowd"), -given_area(r, 0))):
            c = class_id(found.categories[region["category_id"]], class_names, where)
            if not outline(region):
                raise ValueError(f"{where}: a region without an outline, e.g. a box alone, is no mask")
            if problem := outline_problem(region, label.shape):
                raise ValueError(f"{where}: {named(region)}: {problem}")
            with in_file(path, f"COCO's instances, {named(region)}"):
                label[_mask(region, label.shape)] = IGNORE if region.get("iscrowd") else c
        yield without_suffix(image["file_name"].replace("\\", "/")), label


def _mask(region: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from polygons or run lengths, uncompressed or compressed."""
    if isinstance(outline(region), dict):
        return filled_runs(size, run_lengths(outline(region))[1])
    return np.any([filled(np.reshape(part, (-1, 2)).tolist(), size) for part in polygons(region)], axis=0)
