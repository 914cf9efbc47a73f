"""Tiling of large images into overlapping windows, of which the inner parts are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

MARGIN = 96
"""Pixels of context around the used part of a tile."""
Window = tuple[slice, slice]


def windows(height: int, width: int, tile: int, margin: int) -> Iterator[tuple[Window, Window, Window]]:
    """(read, write, inner) for each tile: the window to read, the part to write, and that part relative to the window.

    The parts to write cover the image once; windows add `margin` pixels of context within the image.
    An image of at most tile × tile is one window.

    Raises:
        ValueError: the tile is not larger than its margins.
    """
    if tile <= 2 * margin:
        raise ValueError(f"tile {tile} leaves nothing between margins of {margin} pixels; accepted: over {2 * margin}")
    for rows in _spans(height, tile, margin):
        for columns in _spans(width, tile, margin):
            yield tuple(zip(rows, columns, strict=True))


def _spans(length: int, tile: int, margin: int) -> list[tuple[slice, slice, slice]]:
    if length <= tile:
        return [(slice(0, length), slice(0, length), slice(0, length))]
    spans = []
    for start in range(0, length, tile - 2 * margin):
        stop = min(length, start + tile - 2 * margin)
        first = max(0, min(start - margin, length - tile))
        inner = slice(start - first, stop - first)
        spans.append((slice(first, min(length, first + tile)), slice(start, stop), inner))
    return spans


def tiled_probabilities(
    image: np.ndarray, probabilities: Callable[[np.ndarray], np.ndarray], tile: int, margin: int
) -> Iterator[tuple[Window, np.ndarray]]:
    """(part of an image (H, W, 3), its probabilities (C, h, w)) per tile. probabilities: applied to each window."""
    for read, write, inner in windows(*image.shape[:2], tile, margin):
        yield write, probabilities(image[read])[:, *inner]


def enlarged_labels(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) uint8: argmax of probabilities (C, h, w) after bilinear resizing, computed class by class."""
    best, label = None, np.zeros(size, np.uint8)
    for c, plane in enumerate(probabilities):
        scores = enlarged(plane, size)
        if best is None:
            best = scores
            continue
        label[scores > best] = c
        np.maximum(best, scores, out=best)
    return label


def enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) in float32 resized to (H, W), bilinear."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.array(image.resize(size[::-1], Image.Resampling.BILINEAR))
