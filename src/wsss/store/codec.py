"""Compression of score maps to 8-bit levels, faster than writing them as float32.

1. Levels: ⌊255·s + ½⌋, so that scores come back within 1/510.
2. Residuals: a row is predicted by linear extrapolation of the two rows above it (the second row by the first,
   the first by zeros), modulo 256. Maps are smooth: what remains is mostly −1, 0 or 1.
3. Zigzag: the residuals 0, −1, 1, −2, 2 … are stored as 0, 1, 2, 3, 4 …, all maps in one line, zero-padded to
   blocks of 64 bytes.
4. Packing: a block takes as many bits a byte as its largest one needs: none where a map is flat.

Record: one byte a block, its width w in bits; then each block as w little-endian 64-bit words. Byte j of these words,
from its lowest bit in the first word upwards, holds w bits each of the block's bytes j, j + 8, j + 16 … j + 56.

The loops are compiled when the package is installed (`_codec.c`).
"""

from __future__ import annotations

import math

import numpy as np


def encode_scores(scores: np.ndarray, name: str = "scores") -> bytes:
    """Compress (k, H, W) scores, clipped to [0, 1]; decoded ones differ by 1/510 at most. ValueError for NaN."""
    from wsss._codec import encode

    try:
        return encode(np.ascontiguousarray(scores, np.float32), *scores.shape)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def decode_scores(record: bytes | memoryview, shape: tuple[int, int, int]) -> np.ndarray:
    """Scores (k, H, W) float32 in [0, 1]; ValueError if the record does not fit the shape."""
    from wsss._codec import decode

    if min(shape) < 0 or math.prod(shape) > 64 * len(record):  # a byte a block at least
        raise ValueError(f"a record of {len(record)} bytes does not fit maps of shape {shape}")
    scores = np.empty(shape, np.float32)
    decode(record, scores, *shape)
    return scores
