"""Reads COCO's instances files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.files import SUFFIXES
from wsss.data.formats.coco.settings import Settings
from wsss.data.formats.regions import SizeOf, annotation_file, canvas, class_id, filled
from wsss.data.rle import filled_runs, run_lengths
from wsss.data.text import read_text
from wsss.runtime.records import in_file


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], _size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every image of a JSON file, or of instances.json in a folder.

    Smaller regions are painted over larger ones.

    Raises:
        ValueError: not such a file, an unknown class, or a region that does not fit its image.
    """
    path = annotation_file(source, "instances.json")
    with in_file(path, "a file of COCO's instances"):
        content = json.loads(read_text(path).text)
        names = {category["id"]: category["name"] for category in content["categories"]}
        regions = defaultdict(list)
        for annotation in content["annotations"]:
            regions[annotation["image_id"]].append(annotation)
        for image in content["images"]:
            where = f"{path}, image '{image['file_name']}'"
            label = canvas((int(image["height"]), int(image["width"])), where)
            for region in sorted(regions[image["id"]], key=lambda r: -float(r.get("area") or 0)):
                c = class_id(names[region["category_id"]], class_names, where)
                label[_mask(region.get("segmentation"), label.shape, where)] = c
            name = image["file_name"]
            yield name.removesuffix(next((s for s in SUFFIXES if name.lower().endswith(s)), "")), label


def _mask(segmentation: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool from polygons or run lengths, uncompressed or compressed."""
    if not segmentation or segmentation == [[]]:
        raise ValueError(f"{where}: a region without an outline, e.g. a box alone, is no mask")
    if isinstance(segmentation, list):
        polygons = [part for part in segmentation if len(part) >= 6] or segmentation
        parts = [filled(np.reshape(part, (-1, 2)).tolist(), size) for part in polygons]
        return np.any(parts, axis=0)
    try:
        found, lengths = run_lengths(segmentation)
    except ValueError as error:
        raise ValueError(f"{where}: a region: {error}") from None
    if found != size:
        raise ValueError(f"{where}: a region of size {list(found)}, but the image is {list(size)}")
    return filled_runs(size, lengths)
