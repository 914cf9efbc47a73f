"""Images made smaller, the same way in training and in prediction."""

from __future__ import annotations

import numpy as np
from PIL import Image


def shrunk(image: np.ndarray, max_edge: int | None) -> np.ndarray:
    """The image (H, W, 3), with a longest edge of at most `max_edge` pixels; the same way as prepare_data."""
    height, width = image.shape[:2]
    if max_edge is None or max(height, width) <= max_edge:
        return image
    factor = max_edge / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX, reducing_gap=2.0))
