"""Geometry of the page's charts; templates/charts.html draws it as SVG, and jinja2 escapes every text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 12, 40
MOST_POINTS = 240
SLOTS = 8
"""Number of line styles (colour and dash), which repeat for further series."""


@dataclass(frozen=True)
class Line:
    """One series. path: SVG path data; slot: its style."""

    name: str
    path: str
    slot: int


@dataclass(frozen=True)
class Mark:
    """A point with a name."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """Series over a common axis. Ticks are (position, text)."""

    title: str
    x_label: str
    y_label: str
    summary: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    mark: Mark | None
    note: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM
    right: int = WIDTH - RIGHT
    top: int = TOP


Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Series,
    mark: tuple[float, float, str] | None = None,
    *,
    names: Mapping[float, str] | None = None,
) -> LineChart:
    """A chart of `series` (name → x, y), its y axis from 0.

    mark: x, y and text of one point. names: x → text of its tick, for categories; None: round numbers.
    """
    thinned = {name: _thin(np.asarray(x, float), np.asarray(y, float)) for name, (x, y) in series.items()}
    xs = np.concatenate([x for x, _ in thinned.values()])
    ys = np.concatenate([y for _, y in thinned.values()])
    ys = ys[np.isfinite(ys)] if np.isfinite(ys).any() else np.zeros(1)
    x_span = (float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9))
    x_ticks = names or {t: f"{t:g}" for t in ticks(*x_span)}
    y_ticks = ticks(min(0.0, float(ys.min())), max(float(ys.max()), 1e-9))
    y_span = y_ticks[0], y_ticks[-1]

    def px(x: float) -> float:
        return LEFT + (x - x_span[0]) / (x_span[1] - x_span[0]) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        return HEIGHT - BOTTOM - (y - y_span[0]) / (y_span[1] - y_span[0]) * (HEIGHT - TOP - BOTTOM)

    lines = [
        Line(name, _path([(px(a), py(b)) for a, b in zip(x, y, strict=True) if math.isfinite(b)]), i % SLOTS)
        for i, (name, (x, y)) in enumerate(thinned.items())
    ]
    return LineChart(
        title,
        x_label,
        y_label,
        "; ".join(
            f"{name} ends at {known[-1]:.4g}" for name, (_, y) in thinned.items() if len(known := y[np.isfinite(y)])
        ),
        lines,
        [(px(t), text) for t, text in x_ticks.items() if x_span[0] <= t <= x_span[1]],
        [(py(t), f"{t:g}") for t in y_ticks],
        Mark(px(mark[0]), py(mark[1]), mark[2]) if mark else None,
    )


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover low..high."""
    span = max(high - low, 1e-12)
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most MOST_POINTS intervals."""
    if len(x) <= MOST_POINTS:
        return x, y
    edges = np.linspace(0, len(x), MOST_POINTS + 1).astype(int)
    counts = np.diff(edges)
    return np.add.reduceat(x, edges[:-1]) / counts, np.add.reduceat(y, edges[:-1]) / counts


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion chart: true class in row, predicted class in column, share of the row's pixels."""

    row: int
    column: int
    share: float

    @property
    def level(self) -> int:
        """0..9, for the colour."""
        return min(9, int(self.share * 10))


@dataclass(frozen=True)
class Heatmap:
    """Confusion between classes. cells: those with at least 0.5 %; names: C classes and `ignored`."""

    key: str
    title: str
    names: list[str]
    columns: list[str]
    cells: list[Cell]
    worst: list[Cell]


SMALLEST_SHARE = 0.005


def heatmap(key: str, title: str, matrix: np.ndarray, names: Sequence[str]) -> Heatmap:
    """The chart of a confusion matrix (C, C + 1)."""
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    used = len(names) + bool(matrix[:, -1].any())
    cells = [Cell(int(r), int(c), float(shares[r, c])) for r, c in np.argwhere(shares >= SMALLEST_SHARE)]
    off = sorted((cell for cell in cells if cell.row != cell.column), key=lambda cell: -cell.share)
    return Heatmap(key, title, list(names), [*names, "ignored"][:used], cells, off[:8])
