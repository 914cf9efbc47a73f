"""Reads YOLO's polygons and boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsss.data.files import files_below
from wsss.data.formats.regions import SizeOf, canvas, centres_inside, class_id
from wsss.data.formats.yolo.settings import Settings, label_folder
from wsss.data.text import read_text
from wsss.runtime.plain_yaml import read_yaml
from wsss.runtime.records import in_file

CLASSES = "classes.txt"
"""Names of the classes, one a line, of labelImg and others."""


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every text file of labels; smaller regions are painted over larger ones.

    Raises:
        ValueError: a line that is not YOLO's, an unknown class, or an image of unknown size.
    """
    ids = _class_ids(source, class_names)
    for name, path in files_below(label_folder(source), suffixes=(".txt",)):
        if path.name == CLASSES:
            continue
        image_id = name[: -len(".txt")]
        if (size := size_of(image_id)) is None:
            raise ValueError(f"{path}: no image '{image_id}' whose size is known; YOLO's files hold none (give --run)")
        label = canvas(size, str(path))
        with in_file(path, "a file of YOLO's labels"):
            regions = [_region(line, ids, size) for _, line in read_text(path).lines()]
            for c, polygon in sorted(regions, key=lambda region: -_area(region[1])):
                label[centres_inside(polygon, size)] = c
        yield image_id, label


def _class_ids(source: Path, class_names: Sequence[str]) -> dict[int, int]:
    """YOLO's class index → class id, by the names in data.yaml or classes.txt; without either, in the same order."""
    path = source / "data.yaml"
    listed = next((p for p in (source / CLASSES, label_folder(source) / CLASSES) if p.is_file()), None)
    if not path.is_file() and listed is None:
        return {c - 1: c for c in range(1, len(class_names))}
    if not path.is_file():
        names = [line for _, line in read_text(listed).lines()]
        return {number: class_id(name, class_names, str(listed)) for number, name in enumerate(names)}
    with in_file(path, "YOLO's description of a data set"):
        names = read_yaml(read_text(path).text)["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): class_id(str(name), class_names, str(path)) for number, name in pairs}


def _region(line: str, ids: dict[int, int], size: tuple[int, int]) -> tuple[int, np.ndarray]:
    """Class id and polygon (n, 2) of x and y in pixels; four values are a box's centre, width and height."""
    told = f"'{line:.60}': accepted are a class and shares of the image's size, from 0 to 1, in pairs"
    number, *values = line.split()
    try:
        index, points = int(number), np.array(values, np.float64)
    except ValueError:
        raise ValueError(told) from None
    if len(points) == 4:
        x, y, width, height = points
        points = np.array([x, y, x, y, x, y, x, y]) + np.array([-1, -1, 1, -1, 1, 1, -1, 1]) * np.tile(
            [width / 2, height / 2], 4
        )
    if not (np.abs(points - 0.5) <= 0.6).all() or len(points) % 2:
        raise ValueError(told)
    if index not in ids:
        raise ValueError(f"class {index}; accepted: {', '.join(map(str, ids))}")
    return ids[index], points.reshape(-1, 2) * np.array(size[::-1])


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
