"""Writes label maps as palette PNGs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wsss.data.formats.labels import Labels
from wsss.data.formats.png.settings import Settings
from wsss.data.formats.regions import places
from wsss.data.palette import write_mask

VOID = (224, 224, 192)
"""VOC's colour of void pixels."""


def write(_settings: Settings, store: Labels, out: Path) -> int:
    """Writes `out/{image_id}.png` for every image, with the folders in its id; returns the number of images.

    Raises:
        ValueError: an id leads out of the folder, or two ids have one file.
    """
    return write_pngs(store, store.palette, out)


def write_pngs(labels: Mapping[str, np.ndarray], colours: np.ndarray, out: Path) -> int:
    """`write` for any label maps (H, W) uint8 by image id; colours: (C, 3) uint8."""
    palette = np.full((256, 3), 0, np.uint8)
    palette[: len(colours)] = colours
    palette[255] = VOID
    for image_id, path in places(labels, out, ".png").items():
        write_mask(path, labels[image_id], palette, optimize=True)
    return len(labels)
