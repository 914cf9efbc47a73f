"""Palette masks and the colour table of PASCAL VOC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsss.runtime.files import write_atomically


def voc_palette(n: int = 256) -> np.ndarray:
    """The first `n` VOC colours, (n, 3) uint8: a class id's bits dealt out to R, G, B, highest first.

    Entry 0 (background) is black and entry 255 (void) is cream. Raises ValueError unless 1 <= n <= 256.
    """
    if not 1 <= n <= 256:
        raise ValueError(f"n must lie in 1..256, given {n}")
    ids = np.arange(n)
    colours = np.zeros((n, 3), np.int64)
    for level in range(8):
        for channel in range(3):
            bit = ids >> (3 * level + channel) & 1
            colours[:, channel] |= bit << (7 - level)
    return colours.astype(np.uint8)


def write_mask(path: Path, mask: np.ndarray, palette: np.ndarray | None = None, *, optimize: bool = False) -> None:
    """Writes class ids (H, W) uint8 as a PNG with a palette (256, 3) uint8, by default VOC's, atomically.

    optimize: a smaller file, in several times the time.
    """
    image = Image.fromarray(mask)
    image.putpalette((voc_palette() if palette is None else palette).tobytes())
    write_atomically(path, lambda temporary: image.save(temporary, "PNG", optimize=optimize))
