"""Evaluation: the threshold curve and the confusion matrix, against the loops of published evaluation scripts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.inputs import CLASSES, blobs, cams_and_truth
from benchmarks.measure import Case, Thunk, largest_difference
from benchmarks.shards import Part, in_shards
from wsss.measure.iou import THRESHOLDS, ThresholdCurve, confusion

C = CLASSES + 1


def count_by_class(truth: np.ndarray, predicted: np.ndarray, counts: np.ndarray) -> None:
    """Adds true positives, predicted and true pixels of each class: counts (3, C)."""
    valid = truth < 255
    right = (predicted == truth) * valid
    for c in range(C):
        counts[0, c] += np.sum((truth == c) * right)
        counts[1, c] += np.sum((predicted == c) * valid)
        counts[2, c] += np.sum((truth == c) * valid)


def class_counts(matrix: np.ndarray) -> np.ndarray:
    """The same counts (3, C) from a confusion matrix (C, C + 1)."""
    return np.stack([np.diagonal(matrix), matrix[:, :-1].sum(0), matrix.sum(1)])


def curve_items(height: int, width: int, images: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [cams_and_truth(rng, height, width) for _ in range(images)]


def curve_plain(height: int, width: int, images: int, _device: str) -> Thunk:
    items = curve_items(height, width, images)

    def run() -> np.ndarray:
        counts = np.zeros((len(THRESHOLDS), 3, C), np.int64)
        for i, threshold in enumerate(THRESHOLDS):
            for classes, cams, truth in items:
                scores = np.zeros((C, height, width), np.float32)
                scores[classes] = cams
                scores[0] = threshold
                count_by_class(truth, scores.argmax(0).astype(np.uint8), counts[i])
        return counts

    return run


def curve_ours(height: int, width: int, images: int, _device: str) -> Thunk:
    items = curve_items(height, width, images)

    def run() -> np.ndarray:
        curve = ThresholdCurve(C)
        for classes, cams, truth in items:
            curve.update(truth, classes, cams)
        return np.stack([class_counts(matrix) for matrix in curve.matrices()])

    return run


def mask_pairs(height: int, width: int, masks: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth and prediction: 60 different pairs over and over, as all at once would only measure memory."""
    rng = np.random.default_rng(3)
    pairs = [(blobs(rng, height, width, C), blobs(rng, height, width, C) % 255 % C) for _ in range(min(60, masks))]
    return [pairs[i % len(pairs)] for i in range(masks)]


def confusion_plain(height: int, width: int, masks: int, _device: str) -> Thunk:
    pairs = mask_pairs(height, width, masks)

    def run() -> np.ndarray:
        counts = np.zeros((3, C), np.int64)
        for truth, predicted in pairs:
            count_by_class(truth, predicted, counts)
        return counts

    return run


def confusion_ours(height: int, width: int, masks: int, device: str) -> Thunk:
    return in_shards(partial(part_of_masks, height, width, masks), 2, device)


def part_of_masks(height: int, width: int, masks: int, number: int, shards: int) -> Part:
    """What one shard counts."""
    pairs = mask_pairs(height, width, masks)[number::shards]
    return lambda: {str(number): class_counts(sum(confusion(truth, predicted, C) for truth, predicted in pairs))}


def difference_of_sums(plain: np.ndarray, ours: list[np.ndarray]) -> float:
    """Between counts and the sum of the shards' counts."""
    return largest_difference(plain, sum(ours))


def case(work: str, way: str, size: tuple[int, int], images: int, **wanted: Any) -> Case:
    plain, ours = globals()[f"{way}_plain"], globals()[f"{way}_ours"]
    compare = {"curve": largest_difference, "confusion": difference_of_sums}[way]
    return Case(
        work,
        f"{images}×{size[0]}×{size[1]}",
        images * size[0] * size[1],
        partial(plain, *size, images),
        partial(ours, *size, images),
        compare=compare,
        difference=0,
        **wanted,
    )


def cases() -> list[Case]:
    curve = "threshold curve, 60 thresholds; one pass per threshold"
    counts = "confusion, 2 shards; per-class counters"
    return [
        case(curve, "curve", (188, 250), 4),
        case(curve, "curve", (375, 500), 4, faster=200),
        case(curve, "curve", (750, 1000), 1),
        case(counts, "confusion", (188, 250), 100),
        case(counts, "confusion", (375, 500), 1449, faster=20),
        case(counts, "confusion", (750, 1000), 100),
    ]
