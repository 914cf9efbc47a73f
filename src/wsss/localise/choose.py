"""Choosing the background score of maps that have no background of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss.config.stages import ChooseThreshold
from wsss.data.dataset import Dataset
from wsss.localise.thresholds import LEVELS, add_best_scores, minimum_cross_entropy
from wsss.measure.evaluation import measured_records, threshold_curve
from wsss.measure.iou import THRESHOLDS, score
from wsss.runtime.progress import Progress, log
from wsss.store.maps import open_scores

FEW = 30
"""Masks below which the best threshold is a guess."""


def choose_threshold(settings: ChooseThreshold, dataset: Dataset, scores: Path, workers: int = 1) -> float:
    """The background score in [0, 1] that the policy gives.

    scores: the CAMs of the training images. Raises ValueError if the policy needs masks and there are none.
    """
    if settings.policy == "fixed":
        return settings.value
    if settings.policy == "auto":
        return choose_auto(dataset, scores)
    return choose_oracle(dataset, scores, workers, settings.highest)


def choose_oracle(dataset: Dataset, file: Path, workers: int = 1, highest: float = 0.59) -> float:
    """The threshold up to `highest` with the best mIoU on the training masks, however few.

    Raises:
        ValueError: there are none.
    """
    count = len(measured_records(dataset, "train"))
    if not count:
        raise ValueError(
            f"data set '{dataset.name}' has no masks in split 'train' to choose a threshold with; "
            "set choose_threshold to auto, or to a number such as 0.25"
        )
    matrices, _ = threshold_curve(dataset, file, "train", Progress(count, "images"), workers)
    mious = [score(matrix).miou for matrix in matrices]
    allowed = np.flatnonzero(highest + 1e-9 >= THRESHOLDS)
    best = max(allowed.tolist(), key=mious.__getitem__)
    log.info("threshold %.2f, mIoU %.2f %% on %d training masks", THRESHOLDS[best], 100 * mious[best], count)
    if count < FEW:
        log.warning("%d masks are few to choose by; auto uses every image and no mask", count)
    return float(THRESHOLDS[best])


def choose_auto(dataset: Dataset, file: Path) -> float:
    """The threshold that splits the training images' scores with the least cross entropy, to two digits."""
    records = [record for record in dataset.split("train") if len(record.classes)]
    histogram = np.zeros(LEVELS, np.int64)
    progress = Progress(len(records), "images")
    with open_scores(file) as store:
        for record in records:
            add_best_scores(histogram, store[record.image_id].scores)
            progress.update()
    chosen = round(minimum_cross_entropy(histogram), 2)
    foreground = histogram[round(chosen * LEVELS) :].sum() / histogram.sum()
    log.info("threshold %.2f, without masks; it makes %.0f %% of the pixels foreground", chosen, 100 * foreground)
    return chosen
