"""Evaluation of stored maps against masks, by counts pooled over a split in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from wsss.data.dataset import Dataset, Record, read_mask
from wsss.measure.bootstrap import counts, grouped
from wsss.measure.iou import ThresholdCurve, confusion
from wsss.measure.scoremaps import relative, winner, with_background
from wsss.runtime.progress import Progress
from wsss.store.maps import LabelStore, open_any, open_scores

PART = 512
"""Images per task of a process; fewer than three tasks do not repay the start of another process."""
T = TypeVar("T")


def measured_records(dataset: Dataset, split: str, file: Path | None = None) -> list[Record]:
    """The images of a split that are evaluated against their masks; may be empty.

    file: of the maps that are evaluated; those that were corrected by hand are left out.
    """
    corrected: frozenset[str] = frozenset()
    if file is not None:
        with open_any(file, dataset.class_names) as store:
            corrected = store.corrected
    return [record for record in dataset.split(split) if record.measured and record.image_id not in corrected]


def threshold_curve(
    dataset: Dataset, file: Path, split: str, progress: Progress | None = None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Confusion matrices (T, C, C + 1) for every threshold, and counts of groups of images (G, T, 3, C).

    Maps with a background map are thresholded by their shares (`relative`). The counts serve the bootstrap. workers:
    processes; the result does not depend on their number.
    """
    curve, groups = ThresholdCurve(len(dataset.class_names)), []
    records = measured_records(dataset, split, file)
    work = partial(_part_of_curve, file, len(dataset.class_names), len(records))
    for (part, own), count in _in_parts(work, records, workers):
        curve += part
        groups += own
        if progress:
            progress.update(count)
    matrices = curve.matrices()
    return matrices, np.array(groups).reshape(-1, len(matrices), 3, len(dataset.class_names))


def pooled_confusion(
    dataset: Dataset, file: Path, split: str, threshold: float | None = None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Confusion matrix (C, C + 1) of a label file or a score file, and counts of groups of images (G, 3, C).

    The counts serve the bootstrap.
    threshold: background score of maps without a background map; ties go to the background.
    workers: processes; the result does not depend on their number.
    """
    size = len(dataset.class_names)
    records = measured_records(dataset, split, file)
    work = partial(_part_of_confusion, file, size, threshold, len(records))
    matrices = [group for part, _ in _in_parts(work, records, workers) for group in part]
    matrices = np.array(matrices, np.int64).reshape(-1, size, size + 1)
    return matrices.sum(0), counts(matrices)


def _part_of_curve(
    file: Path, classes: int, total: int, records: Sequence[Record]
) -> tuple[ThresholdCurve, list[np.ndarray]]:
    """The curve of a part of a split's `total` images, and the counts (T, 3, C) of its groups."""
    curve, groups = ThresholdCurve(classes), []
    with open_scores(file) as store:
        for group in grouped(records, total):
            own = ThresholdCurve(classes)
            for record in group:
                own.update(read_mask(record.mask), *relative(store[record.image_id]))
            curve += own
            groups.append(counts(own.matrices()))
    return curve, groups


def _part_of_confusion(
    file: Path, classes: int, threshold: float | None, total: int, records: Sequence[Record]
) -> list[np.ndarray]:
    """Confusion matrices (C, C + 1) of the groups in a part of a split's `total` images."""
    groups = []
    with open_any(file) as store:
        for group in grouped(records, total):
            matrix = np.zeros((classes, classes + 1), np.int64)
            for record in group:
                found = store[record.image_id]
                label = found if isinstance(store, LabelStore) else winner(with_background(found, threshold))
                matrix += confusion(read_mask(record.mask), label, classes)
            groups.append(matrix)
    return groups


def _in_parts(
    work: Callable[[Sequence[Record]], T], records: Sequence[Record], workers: int
) -> Iterator[tuple[T, int]]:
    """(`work` of a part, number of its records) for every part. Integer counts of parts add up exactly."""
    parts = [records[i : i + PART] for i in range(0, len(records), PART)]
    if workers == 1 or len(parts) <= 2:
        yield from ((work(part), len(part)) for part in parts)
        return
    # Spawned, not forked: the caller may have threads.
    with ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn")) as pool:
        yield from zip(pool.map(work, parts), map(len, parts), strict=True)


def has_background(file: Path) -> bool:
    """Whether the file needs no threshold: it has labels, or scores with a background map."""
    with open_any(file) as store:
        return isinstance(store, LabelStore) or 0 in store[next(iter(store))].classes
