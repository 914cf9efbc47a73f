"""Measuring stored maps against masks: one pass, pooled counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss.data.dataset import Dataset, Record, read_mask
from wsss.metrics import ThresholdCurve, confusion
from wsss.progress import Progress
from wsss.scoremaps import winner, with_background
from wsss.store import LabelStore, ScoreStore, open_labels, open_scores


def measured_records(dataset: Dataset, split: str) -> list[Record]:
    """The images of a split whose masks measure; may be empty."""
    return [record for record in dataset.split(split) if record.measured]


def threshold_curve(dataset: Dataset, file: Path, split: str, progress: Progress | None = None) -> ThresholdCurve:
    """Confusion for every threshold of a score file's maps, which have no background of their own."""
    curve = ThresholdCurve(len(dataset.class_names))
    with open_scores(file) as store:
        for record in measured_records(dataset, split):
            curve.update(read_mask(record.mask), *store[record.image_id])
            if progress:
                progress.update()
    return curve


def pooled_confusion(dataset: Dataset, file: Path, split: str, threshold: float | None = None) -> np.ndarray:
    """Confusion matrix (C, C + 1) of a label file, or of a score file.

    threshold: the constant background of maps that have none of their own; ties go to the background.
    """
    size = len(dataset.class_names)
    total = np.zeros((size, size + 1), np.int64)
    with open_store(file) as store:
        for record in measured_records(dataset, split):
            found = store[record.image_id]
            label = found if isinstance(store, LabelStore) else winner(with_background(found, threshold))
            total += confusion(read_mask(record.mask), label, size)
    return total


def open_store(file: Path) -> LabelStore | ScoreStore:
    """A label or a score file, whichever it is."""
    try:
        return open_labels(file)
    except ValueError:
        return open_scores(file)


def has_background(file: Path) -> bool:
    """Whether argmax alone turns the file's content into labels."""
    with open_store(file) as store:
        return isinstance(store, LabelStore) or 0 in store[next(iter(store))].classes
