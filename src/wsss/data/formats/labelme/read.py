"""Reads labelme's JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.files import files_below
from wsss.data.formats.labelme.settings import Settings
from wsss.data.formats.regions import SizeOf, canvas, class_id, corners, filled
from wsss.data.intact import opened
from wsss.data.text import read_text
from wsss.runtime.plain_yaml import read_json
from wsss.runtime.records import in_file


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], _size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every JSON file below a folder; later shapes are painted over earlier ones.

    Raises:
        ValueError: a file that is not labelme's, an unknown class, or a shape without area.
    """
    for name, path in files_below(source, suffixes=(".json",)):
        with in_file(path, "a file of labelme"):
            content = read_json(read_text(path).text)
            label = canvas((int(content["imageHeight"]), int(content["imageWidth"])), str(path))
            for shape in content["shapes"]:
                _paint(label, shape, class_id(shape["label"], class_names, str(path)), str(path))
        yield name[: -len(".json")], label


def _paint(label: np.ndarray, shape: dict[str, Any], c: int, where: str) -> None:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "mask":
        left, top = (round(value) for value in points[0])
        with opened(base64.b64decode(shape["mask"]), ("PNG",)) as image:
            inside = np.array(image.convert("L")) > 0
        window = label[top : top + inside.shape[0], left : left + inside.shape[1]]
        if min(top, left) < 0 or window.shape != inside.shape:
            raise ValueError(f"{where}: a mask of '{shape['label']}' lies outside the image")
        window[inside] = c
    elif kind == "polygon":
        label[filled(points, label.shape)] = c
    elif kind == "rectangle":
        label[filled(corners(points), label.shape)] = c
    else:
        raise ValueError(f"{where}: a shape of type '{kind}'; accepted are mask, polygon and rectangle")
