"""Bright class colours for the page; files use the data set's palette."""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])


@cache
def bright_palette(classes: int) -> np.ndarray:
    """(C, 3) uint8: black for the background, then greedily the colours farthest from all earlier ones in CIELAB."""
    hues, kinds = np.arange(0, 1, 1 / 36), ((1.0, 1.0), (0.65, 1.0), (0.35, 1.0), (1.0, 0.72))
    candidates = np.array([colorsys.hsv_to_rgb(h, s, v) for s, v in kinds for h in hues])
    places = cielab(candidates)
    chosen = [int(np.argmin(np.linalg.norm(candidates - [1, 0.25, 0.25], axis=1)))]
    nearest = np.minimum(np.linalg.norm(places - cielab(np.zeros((1, 3))), axis=1), np.inf)
    while len(chosen) < min(classes - 1, len(candidates)):
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    colours = np.rint(255 * candidates[chosen])
    return np.concatenate([np.zeros((1, 3)), colours[np.arange(classes - 1) % len(colours)]]).astype(np.uint8)


def cielab(rgb: np.ndarray) -> np.ndarray:
    """L*, a*, b* (N, 3) of sRGB colours (N, 3) in [0, 1] (CIE 1976, white D65)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
