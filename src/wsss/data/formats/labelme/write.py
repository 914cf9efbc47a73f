"""Writes label maps as labelme's JSON."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from wsss.data.formats.labelme.settings import Settings
from wsss.data.formats.labels import Labels
from wsss.data.formats.regions import boxed, classes_in, places
from wsss.runtime.files import write_atomically

VERSION = "5.5.0"
"""Version of the file format."""


def write(_settings: Settings, store: Labels, out: Path) -> int:
    """Writes `out/{image_id}.json` for every image, with the path of the image; returns the number of images."""
    for image_id, file in places(store, out, ".json").items():
        label = store[image_id]
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": [_shape(name, mask) for _, name, mask in classes_in(label, store.class_names)],
            "imagePath": _image_path(store, image_id, file),
            "imageData": None,
            "imageHeight": label.shape[0],
            "imageWidth": label.shape[1],
        }
        write_atomically(file, json.dumps(content, ensure_ascii=False))
    return len(store)


def _image_path(store: Labels, image_id: str, file: Path) -> str:
    """The relative path from a JSON file to its image, which is assumed to be beside it if unknown."""
    image = store.images.get(image_id)
    return os.path.relpath(image, file.parent) if image else f"{PurePosixPath(image_id).name}.jpg"


def _shape(name: str, mask: np.ndarray) -> dict[str, Any]:
    """A shape of type mask: the corners of its box, both inclusive, and a PNG of 0 and 1."""
    top, left, inside = boxed(mask)
    buffer = io.BytesIO()
    Image.fromarray(inside).save(buffer, "PNG")
    corners = [[left, top], [left + inside.shape[1] - 1, top + inside.shape[0] - 1]]
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return {
        "label": name,
        "points": corners,
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": encoded,
    }
