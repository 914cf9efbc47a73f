"""Conversion between label maps and regions of annotation formats, and paths of annotation files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from wsss.config.messages import nearest, shortened
from wsss.data.files import files_below
from wsss.data.images import MAX_PIXELS
from wsss.data.names import clean_name, id_problem
from wsss.data.reasons import FAR
from wsss.runtime.targets import fitting, refuse_sources, unique_places

SizeOf = Callable[[str], tuple[int, int] | None]
"""Image name → height and width in pixels, if known; for formats that do not store them."""


def places(image_ids: Iterable[str], out: Path, suffix: str) -> dict[str, Path]:
    """Image id → `out/{image_id}{suffix}`; too long a name is cut and given a digest.

    Raises:
        ValueError: an id leads out of the folder, or two ids have one file.
    """
    image_ids = list(image_ids)
    for image_id in image_ids:
        if reason := id_problem(image_id):
            raise ValueError(f"image id {image_id!r} {reason}; nothing is written to {out}")
    found: dict[str, PurePath] = unique_places({i: [fitting(PurePosixPath(f"{i}{suffix}"))] for i in image_ids})
    files = {image_id: out / place for image_id, place in found.items()}
    refuse_sources(files.values(), ())
    return files


def annotation_file(source: Path, name: str) -> Path:
    """The annotation file of a source: itself, or in a folder the file `name`, or the only one with its suffix.

    Raises:
        ValueError: the folder has none, or several.
    """
    if not source.is_dir() or (source / name).is_file():
        return source / name if source.is_dir() else source
    suffix = PurePath(name).suffix
    found = [path for _, path in files_below(source, suffixes=(suffix,))]
    if len(found) != 1:
        raise ValueError(f"{source}: {len(found)} files *{suffix}, none of them {name}; name the file itself")
    return found[0]


def classes_in(label: np.ndarray, class_names: Sequence[str]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Class id, name and mask (H, W) bool of every class in a label map, without background and void."""
    for c in np.unique(label).tolist():
        if 0 < c < len(class_names):
            yield c, class_names[c], label == c


def boxed(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Top and left of the bounding box of a mask (H, W) bool, and the mask inside it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    return top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1]


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons (n, 2) of x and y in pixels from the image's corner, one for each part of a mask (H, W) bool.

    A hole is part of its polygon: a line leads from the outline to the hole, around it, and back along itself.
    """
    from contourpy import FillType, contour_generator

    padded = np.pad(mask, 1).astype(np.float32)
    parts, offsets = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, np.inf)
    limits = np.array(mask.shape[::-1], np.float64)
    polygons = []
    for points, ends in zip(parts, offsets, strict=True):
        outer, *holes = (points[a : b - 1] for a, b in itertools.pairwise(ends))  # the last point is the first
        polygons.append(np.clip(_joined(outer, holes) - 0.5, 0, limits))
    return polygons


def _joined(outer: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """A polygon that goes along an outline and, from the outline's point nearest to each hole, around the hole."""
    from scipy.spatial import KDTree

    if not holes:
        return outer
    tree = KDTree(outer)
    ways = []
    for hole in holes:
        distances, nearest_points = tree.query(hole)
        start = int(distances.argmin())
        ways.append((int(nearest_points[start]), np.roll(hole, -start, axis=0)))
    pieces, last = [], 0
    for at, hole in sorted(ways, key=lambda way: way[0]):
        pieces += [outer[last : at + 1], hole, hole[:1]]
        last = at
    return np.concatenate([*pieces, outer[last:]])


def corners(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """The corners of an upright rectangle that is given by two or more of them."""
    pairs = _pairs(points)
    if len(pairs) < 2:
        raise ValueError("a rectangle of one point; accepted are two or more of its corners")
    (x0, y0), (x1, y1) = pairs.min(0), pairs.max(0)
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def filled(points: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a polygon drawn by hand; points: x and y in pixels. ValueError for what is no polygon."""
    pairs = _pairs(points)
    _require_polygon(pairs, size)
    if pairs.min() >= 0 and pairs.max() <= 1 < min(size):
        raise ValueError("an outline within the first pixel; accepted are pixels, not shares of the image's size")
    image = Image.new("1", size[::-1])
    ImageDraw.Draw(image).polygon([(x, y) for x, y in pairs.tolist()], fill=1)
    return np.array(image)


def _pairs(points: Sequence[Sequence[float]]) -> np.ndarray:
    """Points as (n, 2) float64; ValueError for what is no list of x and y."""
    with suppress(TypeError, ValueError):
        pairs = np.asarray(points, np.float64)
        if pairs.ndim == 2 and pairs.shape[1] == 2:
            return pairs
    raise ValueError(f"points {shortened(points, 40)}; accepted is a list of pairs of x and y")


def _require_polygon(points: np.ndarray, size: tuple[int, int]) -> None:
    """Raises ValueError unless points (n, 2) of x and y are a polygon that meets an image of this height and width."""
    if len(points) < 3 or not (np.abs(points) <= FAR).all():
        raise ValueError(f"an outline of {len(points)} points; a polygon has 3 or more, of finite x and y")
    low, high, limits = points.min(0), points.max(0), np.array(size[::-1])
    if (high < 0).any() or (low > limits).any():
        raise ValueError(f"an outline from {_xy(low)} to {_xy(high)}, outside of the image of {_xy(limits)} px")


def _xy(point: np.ndarray) -> str:
    return "×".join(f"{value:.4g}" for value in point)


def centres_inside(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of the pixels whose centres lie in a polygon (n, 2) of x and y from the image's corner.

    The inverse of `outlines`.
    """
    from matplotlib.path import Path as Outline

    _require_polygon(polygon, size)
    inside = np.zeros(size, bool)
    low = np.clip(np.floor(polygon.min(0)), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(polygon.max(0)), 0, size[::-1]).astype(int)
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]]
    # slightly off the centres: of a line drawn there and back, a point on it would be counted once
    centres = np.stack([columns.ravel() + 0.5013, rows.ravel() + 0.5007], 1)
    inside[rows.ravel(), columns.ravel()] = Outline(polygon).contains_points(centres)
    return inside


def class_id(name: str, class_names: Sequence[str], where: str) -> int:
    """The id of a class that a file names.

    Raises:
        ValueError: the run has no such class.
    """
    name = clean_name(str(name))
    if name not in class_names[1:]:
        known = ", ".join(class_names[1:])
        raise ValueError(f"{where}: no class '{name}'{nearest(name, class_names[1:])}; classes: {known}")
    return class_names.index(name)


def canvas(size: tuple[int, int], where: str) -> np.ndarray:
    """An empty label map (H, W); ValueError for a size from a file that would fill the memory."""
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"{where}: an image of {width}×{height} pixels")
    return np.zeros((height, width), np.uint8)
