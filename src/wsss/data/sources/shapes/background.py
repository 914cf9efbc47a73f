"""Backgrounds of the generated `shapes` images: five textures, two-colour palettes, a horizon, blobs.

Everything is drawn at twice the final size; lengths are in pixels of that canvas. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image

Rng = np.random.Generator

HORIZON_PROBABILITY = 0.6
MAX_BLOBS = 2


def random_colour(rng: Rng) -> np.ndarray:
    """A random saturated RGB colour, (3,) float32."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.2, 0.9), rng.uniform(0.3, 1.0))
    return np.float32(255) * np.asarray(rgb, np.float32)


def smooth_noise(rng: Rng, height: int, width: int, cell: float) -> np.ndarray:
    """Noise of unit variance at its nodes, (H, W) float32, smooth over about `cell` pixels."""
    nodes = rng.standard_normal((int(height / cell) + 2, int(width / cell) + 2), dtype=np.float32)
    return np.asarray(Image.fromarray(nodes).resize((width, height), Image.Resampling.BICUBIC))


def _grass(rng: Rng, height: int, width: int) -> np.ndarray:
    """Mottled patches with hard edges."""
    return np.clip(0.5 + 2.5 * smooth_noise(rng, height, width, rng.uniform(6, 10)), 0, 1)


def _brick(rng: Rng, height: int, width: int) -> np.ndarray:
    """Courses of bricks, every second one shifted by half a brick, with thin mortar."""
    tall = int(rng.integers(12, 19))
    wide = 2 * tall
    y = np.arange(height)[:, None] + rng.integers(tall)
    x = np.arange(width)[None] + rng.integers(wide) + (y // tall % 2) * tall
    mortar = (y % tall < 2) | (x % wide < 2)
    return np.where(mortar, np.float32(1), np.float32(0.1))


def _sky(rng: Rng, height: int, width: int) -> np.ndarray:
    """Soft clouds."""
    clouds = smooth_noise(rng, height, width, 64) + 0.5 * smooth_noise(rng, height, width, 24)
    return np.clip(0.5 + 0.35 * clouds, 0, 1)


def _sand(rng: Rng, height: int, width: int) -> np.ndarray:
    """Fine grain."""
    return np.clip(0.5 + 0.4 * smooth_noise(rng, height, width, 3), 0, 1)


def _water(rng: Rng, height: int, width: int) -> np.ndarray:
    """Horizontal ripples."""
    x = np.arange(width, dtype=np.float32)[None]
    y = np.arange(height, dtype=np.float32)[:, None]
    wobble = 4 * smooth_noise(rng, height, width, 24)
    swell = 3 * np.sin(x * np.float32(2 * np.pi / rng.uniform(40, 70)))
    return 0.5 + 0.5 * np.sin((y + swell + wobble) * np.float32(2 * np.pi / rng.uniform(9, 14)))


TEXTURES: tuple[Callable[[Rng, int, int], np.ndarray], ...] = (_sand, _brick, _sky, _grass, _water)
"""Texture i is the habitat of class i; each draws a field (H, W) in [0, 1]."""


def _two_colours(rng: Rng, field: np.ndarray) -> np.ndarray:
    """`field` (H, W) in [0, 1] painted between a random colour and a relative of it, (H, W, 3)."""
    first = random_colour(rng)
    second = first + np.float32(rng.uniform(0.25, 0.5)) * (random_colour(rng) - first)
    return first + field[..., None] * (second - first)


def _add_horizon(rng: Rng, canvas: np.ndarray, field: np.ndarray) -> None:
    """Repaint the area below a wavy line with a second palette."""
    height, width = field.shape
    x = np.arange(width)
    waves = sum(
        rng.uniform(0.01, 0.05) * np.sin(2 * np.pi * (cycles * x / width + rng.uniform()))
        for cycles in (rng.uniform(0.4, 1), rng.uniform(1, 3))
    )
    line = height * (rng.uniform(0.25, 0.75) + waves)
    below = np.arange(height)[:, None] > line
    canvas[below] = _two_colours(rng, field)[below]


def _add_blob(rng: Rng, canvas: np.ndarray) -> None:
    """A small mottled lump that belongs to no class."""
    height, width = canvas.shape[:2]
    centre = rng.uniform(0, 1, 2) * (height, width)
    radius = rng.uniform(14, 26)
    lobes, phase, depth = rng.integers(2, 5), rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.25)
    top, left = np.maximum(0, centre - 1.5 * radius).astype(int)
    window = canvas[top : int(centre[0] + 1.5 * radius), left : int(centre[1] + 1.5 * radius)]
    y = np.arange(window.shape[0])[:, None] + top - centre[0]
    x = np.arange(window.shape[1])[None] + left - centre[1]
    inside = np.hypot(x, y) < radius * (1 + depth * np.sin(lobes * np.arctan2(y, x) + phase))
    shade = 1 + 0.2 * smooth_noise(rng, *window.shape[:2], 10)
    window[inside] = (random_colour(rng) * shade[..., None])[inside]


def draw_background(rng: Rng, height: int, width: int, texture: int) -> np.ndarray:
    """A canvas (H, W, 3) float32 in texture number `texture` of TEXTURES."""
    field = TEXTURES[texture](rng, height, width).astype(np.float32)
    canvas = _two_colours(rng, field)
    if rng.uniform() < HORIZON_PROBABILITY:
        _add_horizon(rng, canvas, field)
    for _ in range(rng.integers(MAX_BLOBS + 1)):
        _add_blob(rng, canvas)
    return canvas
