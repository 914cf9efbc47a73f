"""Writes label maps as one COCO instances file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.formats.coco.settings import Settings
from wsss.data.formats.labels import Labels
from wsss.data.formats.regions import classes_in
from wsss.runtime.files import write_atomically


def write(_settings: Settings, store: Labels, out: Path) -> int:
    """Writes `out/instances.json`, with class ids as category ids; returns the number of images."""
    images, annotations = [], []
    for number, image_id in enumerate(store, start=1):
        label = store[image_id]
        height, width = label.shape
        images.append({"id": number, "file_name": store.file_name(image_id), "height": height, "width": width})
        for c, _, mask in classes_in(label, store.class_names):
            annotations.append(_region(mask, len(annotations) + 1, number, c))
    categories = [{"id": c, "name": name} for c, name in enumerate(store.class_names) if c > 0]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(out / "instances.json", json.dumps(content, ensure_ascii=False))
    return len(store)


def _region(mask: np.ndarray, number: int, image: int, category: int) -> dict[str, Any]:
    """The annotation of a mask (H, W) bool."""
    from pycocotools import mask as rle

    encoded = rle.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "iscrowd": 0,
        "area": int(rle.area(encoded)),
        "bbox": rle.toBbox(encoded).tolist(),
        "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode()},
    }
