"""Compression of score maps: 8-bit levels, differences to the row above, zlib."""

from __future__ import annotations

import zlib

import numpy as np

LEVELS = 255


def encode_scores(scores: np.ndarray, name: str = "scores") -> bytes:
    """Compress (k, H, W) scores, clipped to [0, 1]; after decoding they differ by at most 1/510."""
    levels = quantise(scores, name)
    differences = levels.copy()
    differences[:, 1:] -= levels[:, :-1]
    return zlib.compress(differences, 1)


def decode_scores(record: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Scores (k, H, W) float32 in [0, 1]; ValueError or zlib.error if the record is damaged."""
    levels = np.frombuffer(bytearray(zlib.decompress(record)), np.uint8).reshape(shape)
    for row in range(1, shape[1]):
        levels[:, row] += levels[:, row - 1]
    return np.divide(levels, np.float32(LEVELS), dtype=np.float32)


def quantise(scores: np.ndarray, name: str = "scores") -> np.ndarray:
    """Nearest of 256 levels, uint8 (k, H, W); ValueError if a score is not finite."""
    if not np.isfinite(scores).all():
        raise ValueError(f"{name}: scores hold NaN or infinite values")
    levels = np.clip(scores, 0, 1).astype(np.float32, copy=False) * np.float32(LEVELS)
    return np.rint(levels).astype(np.uint8)
