"""Writes label maps as YOLO's polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml

from wsss.data.formats.labels import Labels
from wsss.data.formats.regions import classes_in, outlines, places
from wsss.data.formats.yolo.settings import Settings
from wsss.runtime.files import write_atomically


def write(_settings: Settings, store: Labels, out: Path) -> int:
    """Writes `out/labels/{image_id}.txt` for every image and `out/data.yaml`; returns the number of images."""
    for image_id, file in places(store, out / "labels", ".txt").items():
        lines = _lines(store[image_id], store.class_names)
        write_atomically(file, "".join(f"{line}\n" for line in lines))
    names = dict(enumerate(store.class_names[1:]))
    content = {"path": ".", "train": "images", "val": "images", "names": names}
    write_atomically(out / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return len(store)


def _lines(label: np.ndarray, class_names: Sequence[str]) -> Iterator[str]:
    """`class x y x y …` with x and y as shares of width and height."""
    size = np.array(label.shape[::-1], np.float64)
    for c, _, mask in classes_in(label, class_names):
        for outline in outlines(mask):
            yield f"{c - 1} " + " ".join(f"{value:.6f}" for value in (outline / size).ravel().tolist())
