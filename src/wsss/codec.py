"""Compression of score maps to 8-bit levels, as fast as writing float32: vectorised, without an entropy coder.

1. Levels: ⌊255·s + ½⌋, so that scores come back within 1/510.
2. Residuals: rows 16, 48, 80 … are predicted by the mean of the rows 16 above and below, then every 8th row
   between by those 8 away, and so on to every second row. Maps are smooth: what remains is mostly −1, 0 or 1.
3. Zigzag: the residuals 0, −1, 1, −2, 2 … are stored as 0, 1, 2, 3, 4 …, all maps in one line, zero-padded to
   blocks of 64 bytes (8 little-endian 64-bit words).
4. Packing: a block takes as many bits a byte as its largest one needs: none where a map is flat.

Record: one byte a block, its width in bits. Then, for widths 1, 2 … 8 in turn, the n blocks of that width, as one
plane for each binary digit of the width (3 = 2 + 1), higher digits first, from the lowest bits of the bytes
upwards. A plane d bits deep is d × n words: word (j, i) holds, from its lowest bits upwards, those d bits of
the words j·8/d … (j + 1)·8/d − 1 of block i.
"""

from __future__ import annotations

import numpy as np

LEVELS = 255
_STEPS = (16, 8, 4, 2, 1)
_BLOCK = 64
_PIECE = 2**16
_LOWEST = np.uint64(0x0101010101010101)  # the lowest bit of each byte of a word
_WIDTH = np.array([v.bit_length() for v in range(256)], dtype=np.uint8)


def encode_scores(scores: np.ndarray, name: str = "scores") -> bytes:
    """Compress (k, H, W) scores, clipped to [0, 1]; decoded ones differ by 1/510 at most. ValueError for NaN."""
    words = np.zeros((-(-scores.size // _BLOCK), 8), "<u8")
    levels = words.view(np.uint8).reshape(-1)[: scores.size].reshape(scores.shape)
    _residuals(quantise(scores, levels, name))
    return _pack(_zigzag(words))


def decode_scores(record: bytes | memoryview, shape: tuple[int, int, int]) -> np.ndarray:
    """Scores (k, H, W) float32 in [0, 1]; ValueError if the record does not fit the shape."""
    size = int(np.prod(shape))
    residuals = _unzigzag(_unpack(record, -(-size // _BLOCK)))
    levels = _restore(residuals.view(np.uint8).ravel()[:size].reshape(shape))
    return _scaled(levels)


def _scaled(levels: np.ndarray) -> np.ndarray:
    """Levels as scores, float32, a piece at a time: the second pass over a piece finds it in the cache."""
    scores = np.empty(levels.shape, np.float32)
    flat, given = scores.reshape(-1), levels.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        piece[...] = given[start : start + _PIECE]
        piece *= np.float32(1 / LEVELS)
    return scores


def quantise(scores: np.ndarray, out: np.ndarray, name: str = "scores") -> np.ndarray:
    """Fills and returns `out`, uint8 of the same shape: the nearest of 256 levels; ValueError if a score is NaN."""
    levels = np.multiply(scores, np.float32(LEVELS), dtype=np.float32)
    levels += np.float32(0.5)
    if levels.size and np.isnan(levels.max()):
        raise ValueError(f"{name}: scores hold NaN")
    out[...] = np.clip(levels, 0, LEVELS, out=levels)
    return out


def _predictions(maps: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows (k, n, W) at odd multiples of `step`, as a view, and what their neighbours predict for them."""
    rows, even = maps[:, step :: 2 * step], maps[:, :: 2 * step]
    above, below = even[:, : rows.shape[1]], even[:, 1:]
    predicted = above.copy()  # stays so for a last row without a neighbour below
    inner = above[:, : below.shape[1]]
    predicted[:, : below.shape[1]] = (inner & below) + ((inner ^ below) >> 1)  # the mean, without overflow
    return rows, predicted


def _residuals(levels: np.ndarray) -> np.ndarray:
    """Levels (k, H, W) less their predictions, mod 256, in place."""
    for step in reversed(_STEPS):  # finest first: predictions come from rows that are still levels
        rows, predicted = _predictions(levels, step)
        rows -= predicted
    return levels


def _restore(residuals: np.ndarray) -> np.ndarray:
    """Inverse of `_residuals`, in place."""
    for step in _STEPS:
        rows, predicted = _predictions(residuals, step)
        rows += predicted
    return residuals


def _zigzag(words: np.ndarray) -> np.ndarray:
    """Signed bytes v as 2v (v ≥ 0) or −2v − 1, eight at a time, in place."""
    signs = words >> np.uint64(7)
    signs &= _LOWEST
    words &= ~(_LOWEST << np.uint64(7))
    words <<= np.uint64(1)
    signs *= np.uint64(255)
    words ^= signs
    return words


def _unzigzag(words: np.ndarray) -> np.ndarray:
    """Inverse of `_zigzag`, in place."""
    signs = words & _LOWEST
    words ^= signs
    words >>= np.uint64(1)
    signs *= np.uint64(255)
    words ^= signs
    return words


def _widths(words: np.ndarray) -> np.ndarray:
    """Bits that the largest byte of each block (n, 8) needs: (n,) uint8 of 0..8."""
    folded = words[:, 0].copy()
    for i in range(1, 8):
        folded |= words[:, i]
    for shift in (32, 16, 8):
        folded |= folded >> np.uint64(shift)
    return _WIDTH[folded & np.uint64(255)]


def _planes(widths: np.ndarray) -> list[tuple[slice, int, int]]:
    """(which of the blocks sorted by width, lowest bit, depth) of each plane, in the order of the record."""
    ends = np.cumsum(np.bincount(widths, minlength=9)).tolist()
    planes = []
    for width in range(1, 9):
        low = 0
        for depth in (d for d in (8, 4, 2, 1) if width & d):
            planes.append((slice(ends[width - 1], ends[width]), low, depth))
            low += depth
    return [p for p in planes if p[0].start < p[0].stop]


def _pack(words: np.ndarray) -> bytes:
    widths = _widths(words)
    lanes = words[np.argsort(widths, kind="stable")].T.copy()  # (8, blocks): every step runs over long rows
    parts = [widths.tobytes()]
    for blocks, low, depth in _planes(widths):
        bits = lanes[:, blocks] >> np.uint64(low) & _LOWEST * np.uint64(2**depth - 1)
        groups = bits.reshape(depth, 8 // depth, -1)
        for i in range(1, 8 // depth):
            groups[:, 0] |= groups[:, i] << np.uint64(i * depth)
        parts.append(groups[:, 0].tobytes())
    return b"".join(parts)


def _unpack(record: bytes | memoryview, blocks: int) -> np.ndarray:
    widths = np.frombuffer(record[:blocks], np.uint8)
    expected = blocks + 8 * int(widths.sum(dtype=np.int64))
    if len(record) != expected or np.any(widths > 8):
        raise ValueError(f"a record of {len(record)} bytes instead of {expected}")
    planes, start = np.frombuffer(bytes(record[blocks:]), "<u8"), 0  # copied: unaligned words are slow
    lanes = np.zeros((8, blocks), np.uint64)
    for chosen, low, depth in _planes(widths):
        stop = start + depth * (chosen.stop - chosen.start)
        packed, start = planes[start:stop].reshape(depth, -1), stop
        mask, step = _LOWEST * np.uint64(2**depth - 1), 8 // depth
        for i in range(step):
            lanes[i::step, chosen] |= (packed >> np.uint64(i * depth) & mask) << np.uint64(low)
    words = np.empty((blocks, 8), np.uint64)
    words[np.argsort(widths, kind="stable")] = lanes.T
    return words
