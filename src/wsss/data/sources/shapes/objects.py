"""Objects of the generated `shapes` images: a body that suggests the class and a head that identifies it.

In an object's frame, `u` runs along the body from the rear (-1) to the front (1), and `v` across it in the same unit,
half the body's length. `a` is the body's aspect ratio, width over length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wsss.data.sources.shapes.background import Rng, random_colour

LENGTH = (0.40, 0.70)
"""Body length as a share of the image's shorter side: lowest and highest."""
ASPECT = (0.46, 0.66)
HEAD_RADIUS = (0.17, 0.21)
"""Head radius as a share of the body's length: lowest and highest."""
HEAD_CENTRE = 0.78
"""Position of the head's centre as a share of the body's half-axis."""
OWN_TEXTURE_PROBABILITY = 0.75
FADE_PROBABILITY = 0.6

_TAU = np.float32(2 * np.pi)


def _ellipse(u: np.ndarray, v: np.ndarray, a: float) -> np.ndarray:
    return u**2 + (v / a) ** 2 <= 1


def _rounded_box(u: np.ndarray, v: np.ndarray, a: float) -> np.ndarray:
    corner = 0.6 * a
    du = np.maximum(np.abs(u) - (1 - corner), 0)
    dv = np.maximum(np.abs(v) - (a - corner), 0)
    return du**2 + dv**2 <= corner**2


def _triangle(u: np.ndarray, v: np.ndarray, a: float) -> np.ndarray:
    return (np.abs(v) <= a * (1 - u) / 2) & (u >= -1)


def _waisted(u: np.ndarray, v: np.ndarray, a: float) -> np.ndarray:
    return (np.abs(v) <= a * (0.65 + 0.35 * np.cos(_TAU * u))) & (np.abs(u) <= 1)


def _wavy_bar(u: np.ndarray, v: np.ndarray, a: float) -> np.ndarray:
    half_width = 0.6 * a * np.sqrt(np.maximum(1 - u**6, 0))
    return (np.abs(v - 0.5 * a * np.sin(_TAU / 2 * u)) <= half_width) & (np.abs(u) <= 1)


BODIES: tuple[Callable[[np.ndarray, np.ndarray, float], np.ndarray], ...] = (
    _ellipse,
    _rounded_box,
    _triangle,
    _waisted,
    _wavy_bar,
)


def _stripes(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u * 7 % 2 < 1


def _checks(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u * 5 % 2 < 1) ^ (v * 5 % 2 < 1)


def _dotted(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = u * 4, v * 4
    return (x % 1 - 0.5) ** 2 + ((y + np.floor(x) / 2) % 1 - 0.5) ** 2 > 0.08


def _blotches(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    angle, phase = rng.uniform(0, np.pi, 4), rng.uniform(0, 2 * np.pi, 4)
    waves = zip(np.cos(angle), np.sin(angle), phase, (6, 8, 9, 11), strict=True)
    return sum(np.sin(np.float32(f) * (u * c + v * s) + p) for c, s, p, f in waves) > 0.3


def _lattice(rng: Rng, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return ((u + v) * 3.2 % 1 < 0.25) | ((u - v) * 3.2 % 1 < 0.25)


BODY_TEXTURES: tuple[Callable[[Rng, np.ndarray, np.ndarray], np.ndarray], ...] = (
    _stripes,
    _checks,
    _dotted,
    _blotches,
    _lattice,
)
"""Texture i is typical of class i; each is a mask of the dark parts of the body."""


def _rings(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    r = np.hypot(x, y)
    return (r < 0.4) | (r > 0.76)


def _checker(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * 2 % 2 < 1) ^ (y * 2 % 2 < 1)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(x) < 0.24) | (np.abs(y) < 0.24)


def _three_dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    centres = [(0.5 * np.cos(t), 0.5 * np.sin(t)) for t in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    return np.any([(x - cx) ** 2 + (y - cy) ** 2 < 0.29**2 for cx, cy in centres], axis=0)


def _bars(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y + 0.17) * 3 % 2 < 1


MARKERS: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    _rings,
    _checker,
    _cross,
    _three_dots,
    _bars,
)
"""Marker i occurs on class i alone; each is a mask of its dark parts, for x, y in head radii."""


@dataclass(frozen=True)
class Placed:
    """Placement of an object; arrays cover `window`, the part of its bounding box inside the image."""

    kind: int
    window: tuple[slice, slice]
    u: np.ndarray
    v: np.ndarray
    head_radius: float
    """In half-axes."""
    head: np.ndarray
    inside: np.ndarray
    """Body and head, boolean."""
    head_in_frame: bool
    """Whether the head's centre is inside the image."""


def propose(rng: Rng, kind: int, height: int, width: int) -> Placed:
    """An object of class index `kind`, anywhere on the canvas, in a random size and rotation."""
    half = rng.uniform(*LENGTH) * min(height, width) / 2
    aspect, head_radius = rng.uniform(*ASPECT), 2 * rng.uniform(*HEAD_RADIUS)
    angle = rng.uniform(0, 2 * np.pi)
    cy, cx = rng.uniform(0.2, 0.8, 2) * (height, width)
    cos, sin = np.cos(angle), np.sin(angle)

    reach = half * (HEAD_CENTRE + head_radius + 0.1)
    rows = slice(max(0, int(cy - reach)), min(height, int(cy + reach) + 1))
    columns = slice(max(0, int(cx - reach)), min(width, int(cx + reach) + 1))
    y = (np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(half)
    x = (np.arange(columns.start, columns.stop, dtype=np.float32)[None] - np.float32(cx)) / np.float32(half)
    u = np.float32(cos) * x + np.float32(sin) * y
    v = np.float32(cos) * y - np.float32(sin) * x

    head = (u - HEAD_CENTRE) ** 2 + v**2 <= head_radius**2
    inside = head | BODIES[kind](u, v, aspect)
    head_y, head_x = cy + HEAD_CENTRE * half * sin, cx + HEAD_CENTRE * half * cos
    head_in_frame = bool(0 <= head_y < height and 0 <= head_x < width)
    return Placed(kind, (rows, columns), u, v, head_radius, head, inside, head_in_frame)


def _ink(rng: Rng, colour: np.ndarray) -> np.ndarray:
    """A colour that contrasts with `colour`: nearly black on light, nearly white on dark."""
    luma = float(colour @ np.asarray((0.299, 0.587, 0.114), np.float32))
    tint = random_colour(rng)
    return 0.2 * tint if luma > rng.uniform(90, 150) else 190 + 0.25 * tint


def draw_object(rng: Rng, canvas: np.ndarray, placed: Placed) -> None:
    """Paint the object onto `canvas` (H, W, 3): its textured body, then the head with the class's marker."""
    u, v = placed.u, placed.v
    front = random_colour(rng)
    fades = rng.uniform() < FADE_PROBABILITY
    rear = random_colour(rng) if fades else front
    rearness = np.clip(0.5 - (u - rng.uniform(-0.3, 0.3)) / 0.5, 0, 1)
    body = front + rearness[..., None] * (rear - front)

    own = rng.uniform() < OWN_TEXTURE_PROBABILITY
    other = (placed.kind + rng.integers(1, len(BODIES))) % len(BODIES)
    scale = rng.uniform(0.85, 1.15)
    dark = BODY_TEXTURES[placed.kind if own else other](rng, u / scale, v / scale)
    body *= np.where(dark, np.float32(rng.uniform(0.45, 0.65)), np.float32(1))[..., None]

    marked = MARKERS[placed.kind]((u - HEAD_CENTRE) / placed.head_radius, v / placed.head_radius)
    body[placed.head] = front
    body[placed.head & marked] = _ink(rng, front)
    canvas[placed.window][placed.inside] = body[placed.inside]
