"""What `wsss init` and `wsss run` find in a folder of images and its labels, in lines for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from wsss.data.checks import Preflight, check_rows
from wsss.data.dataset import image_size
from wsss.data.remarks import of_twins
from wsss.data.sources.folder.index import Survey, entries_of, split, survey
from wsss.data.sources.folder.settings import Settings as FolderSettings

FEW = 20
"""Number of images of a class below which a remark says that they are too few to learn it."""
TOGETHER = 0.9
"""Share of common images above which a remark says that two classes cannot be separated."""
SHOWN = 20
"""Number of problems, classes and pairs that are printed."""


def open_folder(images: Path, labels: Path | None, masks: Path | None) -> tuple[Survey, np.ndarray, Preflight]:
    """The survey of a folder, the sizes (N, 2) of its readable images, and prepare_data's problems and remarks."""
    seen, preflight = survey(images, labels), Preflight()
    preflight.open(entries_of(seen, images, masks, preflight), len(seen.table.classes))
    bad = {problem.image_id for problem in preflight.problems}
    whole = [f.path for f in seen.found if f.image_id not in bad]
    sizes = np.array([image_size(path) for path in whole]) if whole else np.zeros((1, 2), np.int64)
    return seen, sizes, preflight


def describe(seen: Survey, sizes: np.ndarray, max_edge: int) -> Iterator[str]:
    """Lines on images, classes and their co-occurrence. sizes: (N, 2) heights and widths."""
    classes = seen.table.classes
    labels = seen.labels(classes)
    edges = sizes.max(1)
    kinds = sorted({f.path.suffix.lower() for f in seen.found})
    yield f"{len(seen.found)} images with labels ({', '.join(kinds)}), longest edge {edges.min()} to {edges.max()} px"
    if (large := int((edges > max_edge).sum())) > 0:
        yield f"{large} images are shrunk to {max_edge} px for training (prepare_data.max_edge)"
    yield f"{len(classes)} classes from {seen.table.path} ({seen.table.shape}), {labels.sum(1).mean():.1f} per image:"
    counts = labels.sum(0)
    for name, count in sorted(zip(classes, counts.tolist(), strict=True), key=lambda pair: -pair[1])[:SHOWN]:
        yield f"  {name:24} {count:6} images"
    if len(classes) > SHOWN:
        yield f"  … and {len(classes) - SHOWN} more"
    pairs = sorted(_pairs(classes, labels), key=lambda p: -p[2])[:SHOWN]
    if pairs:
        yield "most often together:"
    for a, b, both in pairs[:5]:
        yield f"  {a} + {b}: {both} images"


def remarks(seen: Survey) -> Iterator[str]:
    """Remarks on the number of each class's images, and on classes that occur together."""
    classes = seen.table.classes
    labels = seen.labels(classes)
    for name, column in zip(classes, labels.T, strict=True):
        if column.sum() < FEW:
            yield f"class '{name}' has {column.sum()} image(s); {FEW} or more are needed to learn it"
    for a, b, both in _pairs(classes, labels):
        columns = labels[:, [classes.index(a), classes.index(b)]]
        if both >= TOGETHER * columns.sum(0).max():
            yield f"'{a}' and '{b}' are nearly always together: image labels alone cannot tell them apart"


def doubts(seen: Survey, preflight: Preflight) -> Iterator[str]:
    """prepare_data's remarks on the files."""
    rows = _rows(seen, [f.row.split for f in seen.found], preflight)
    yield from preflight.remarks(["background", *seen.table.classes], rows)
    yield from of_twins(rows, preflight.digests)


def check_splits(seen: Survey, val_fraction: float | None, where: Path, preflight: Preflight) -> list[str]:
    """prepare_data's checks of both splits, and its remarks on them. val_fraction: None: the default.

    Raises:
        ValueError: a split is empty or not given for every image, or no training image has a label.
    """
    defaults = {name: FolderSettings.model_fields[name].default for name in ("val_fraction", "split_seed")}
    classes = seen.table.classes
    in_val = split(seen, classes, val_fraction or defaults["val_fraction"], defaults["split_seed"])
    rows = _rows(seen, ["val" if val else "train" for val in in_val], preflight)
    return check_rows(["background", *classes], rows, str(where))


def _rows(seen: Survey, splits: Sequence[str], preflight: Preflight) -> list[dict[str, str]]:
    """The images as rows of index.csv, as far as remarks and checks read them. splits: of each image."""
    rows = []
    for found, part in zip(seen.found, splits, strict=True):
        row = {"image_id": found.image_id, "split": part}
        row["labels"] = ";".join(name for name in seen.table.classes if name in found.row.names)
        row["mask"] = row["measured"] = "1" if found.image_id in preflight.shown else ""
        rows.append(row)
    return rows


def _pairs(classes: list[str], labels: np.ndarray) -> list[tuple[str, str, int]]:
    """Pairs of classes that occur together, and their numbers of images."""
    both = labels.T.astype(np.int64) @ labels.astype(np.int64)
    numbers = combinations(range(len(classes)), 2)
    return [(classes[i], classes[j], int(both[i, j])) for i, j in numbers if both[i, j]]
