"""Shrinking of large images, the same in training and in prediction."""

from __future__ import annotations

import numpy as np
from PIL import Image

from wsss.data.images import MIN_EDGE


def shrunk_size(size: tuple[int, int], max_edge: int) -> tuple[int, int]:
    """Height and width of an image larger than `max_edge` after shrinking; its shorter edge keeps MIN_EDGE pixels."""
    factor = max(max_edge / max(size), min(1.0, MIN_EDGE / min(size)))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def shrunk(image: np.ndarray, max_edge: int | None) -> np.ndarray:
    """The image (H, W, 3), of `shrunk_size` if its longest edge exceeds `max_edge` pixels, as in prepare_data."""
    height, width = image.shape[:2]
    if max_edge is None or max(height, width) <= max_edge:
        return image
    size = shrunk_size((height, width), max_edge)
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX, reducing_gap=2.0))
