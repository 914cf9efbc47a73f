"""COCO's run lengths of a mask: columns from left to right, each from the top; outside, inside, outside …"""

from __future__ import annotations

from typing import Any

import numpy as np

from wsss.config.messages import shortened
from wsss.data.images import MAX_PIXELS


def run_lengths(segmentation: Any) -> tuple[tuple[int, int], np.ndarray]:
    """Size (H, W) and lengths (R,) int64 of {size, counts}; counts are numbers, or COCO's compressed text.

    Raises:
        ValueError: not such a mapping, or lengths that do not fill the size; its text has no file name.
    """
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("its segmentation is no run lengths {size: [height, width], counts}")
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or len(size) != 2 or not all(_is_count(side) and side > 0 for side in size):
        raise ValueError(f"its run lengths have the size {shortened(size)}; accepted is [height, width] in pixels")
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise ValueError(f"its run lengths have the size {size}; accepted are up to {MAX_PIXELS:,} pixels")
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(map(_is_count, lengths)):
        raise ValueError("its run lengths cannot be read: counts are whole numbers from 0 on, or COCO's text of them")
    if (covered := sum(lengths)) != pixels:
        raise ValueError(f"its run lengths cover {covered} pixels, an image of {size[0]} × {size[1]} has {pixels}")
    return (size[0], size[1]), np.asarray(lengths, np.int64)


def filled_runs(size: tuple[int, int], lengths: np.ndarray) -> np.ndarray:
    """The mask (H, W) bool of run lengths."""
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size, order="F")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PIXELS


def _decompressed(text: str) -> list[int] | None:
    """The numbers of a text: five bits per character from `0` on, as differences from the last but one, from the third.

    None of a text that is none, or ends within a number.
    """
    codes = np.array([ord(character) for character in text], np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    last = np.flatnonzero(codes & 32 == 0)
    first = np.r_[0, last[:-1] + 1]
    digit = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if digit.max() > 10:
        return None
    values = np.add.reduceat((codes & 31) << 5 * digit, first)
    values -= (codes[last] & 16) << 5 * digit[last] + 1
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    return values.tolist()
