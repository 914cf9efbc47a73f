"""Images and maps as text for a page: WebP, and zlib streams of class ids and of coarse scores."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

from wsss.store.maps import ScoreMap

SCORE_EDGE = 72
"""Longest edge of score maps in pixels."""
LEVELS = 63
"""Levels of a score above 0."""
QUALITY = 68
"""Of WebP images, 0 to 100."""


def fitted(shape: tuple[int, int], edge: int) -> tuple[int, int]:
    """Height and width within a longest edge; never enlarged."""
    factor = min(1.0, edge / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _nearest(length: int, wanted: int) -> np.ndarray:
    """Indices of the nearest of `length` positions to each of `wanted` pixel centres."""
    return ((np.arange(wanted) + 0.5) * length / wanted).astype(int)


def packed_image(image: np.ndarray, edge: int) -> str:
    """An image (H, W, 3) uint8 as WebP of at most `edge` pixels."""
    height, width = fitted(image.shape[:2], edge)
    small = Image.fromarray(image)
    if small.size != (width, height):
        small = small.resize((width, height))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=2)
    return _text(file.getvalue())


def packed_labels(label: np.ndarray, edge: int) -> str:
    """A label map (H, W) uint8 on the grid of `packed_image`."""
    height, width = fitted(label.shape, edge)
    small = label[np.ix_(_nearest(label.shape[0], height), _nearest(label.shape[1], width))]
    return _text(zlib.compress(np.ascontiguousarray(small), 6))


def packed_scores(maps: ScoreMap) -> dict[str, Any]:
    """The foreground maps, coarse: classes, height, width, data (k, height, width) of 0..LEVELS."""
    keep = maps.classes > 0
    height, width = fitted(maps.scores.shape[1:], SCORE_EDGE)
    rows, columns = _nearest(maps.scores.shape[1], height), _nearest(maps.scores.shape[2], width)
    small = np.rint(maps.scores[keep][:, rows][:, :, columns] * LEVELS).astype(np.uint8)
    data = _text(zlib.compress(np.ascontiguousarray(small), 6))
    return {"classes": maps.classes[keep].tolist(), "height": height, "width": width, "data": data}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
