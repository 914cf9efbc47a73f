"""Segmentation scores of a whole split from one pooled confusion matrix, and the threshold curve in one pass.

A confusion matrix is (C, C + 1) int64: rows are true classes, columns predicted classes, and the last column
counts predictions of 255. Pixels whose truth is 255 are in none of its cells. Matrices of parts of a split add
up; IoUs of images are never averaged: VOC's mIoU is that of the sum.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from wsss.runtime.labels import IGNORE

THRESHOLDS = np.arange(100) / 100  # α of the curve: 0.00 … 0.99


def confusion(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix (C, C + 1) of maps of equal shape; ValueError for ids outside 0..C−1 and 255."""
    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ in shape")
    truth, prediction = _bytes(truth), _bytes(prediction)
    ends, lengths = _runs(truth, prediction)
    column = _columns(num_classes)
    side = num_classes + 2
    cells = column.take(truth.take(ends))
    cells *= side
    cells += column.take(prediction.take(ends))
    table = np.bincount(cells, lengths, side * side).astype(np.int64).reshape(side, side)
    if table[-1].any():
        raise _unknown_class(truth, num_classes, "truth")
    if table[:, -1].any():
        raise _unknown_class(prediction, num_classes, "prediction")
    return table[:num_classes, :-1]


@functools.cache
def _columns(num_classes: int) -> np.ndarray:
    """(256,) intp: column of each label value; 255 follows the classes, and all other values share the last one."""
    columns = np.full(IGNORE + 1, num_classes + 1)
    columns[:num_classes] = np.arange(num_classes)
    columns[IGNORE] = num_classes
    return columns


def _unknown_class(labels: np.ndarray, num_classes: int, what: str) -> ValueError:
    """The error for labels with a value that is neither a class id nor 255."""
    found = labels[(labels >= num_classes) & (labels != IGNORE)][0]
    return ValueError(f"class id {found} in the {what}, accepted are 0..{num_classes - 1} and {IGNORE}")


def _bytes(labels: np.ndarray) -> np.ndarray:
    """Flat uint8 copy or view; ValueError for values outside 0..255."""
    if labels.dtype != np.uint8 and labels.size and not (labels.min() >= 0 and labels.max() <= IGNORE):
        raise ValueError(f"labels span {labels.min()}..{labels.max()}, accepted are 0..{IGNORE}")
    return labels.astype(np.uint8, copy=False).ravel()


def _runs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last pixels and lengths of the runs over which neither `a` nor `b` changes.

    Label maps are piecewise constant: counting runs instead of pixels is several times faster.
    """
    changes = a[1:] != a[:-1]
    changes |= b[1:] != b[:-1]
    ends = np.append(np.flatnonzero(changes), [a.size - 1][: a.size]).astype(np.intp, copy=False)
    lengths = ends + 1.0  # float, as bincount converts its weights
    lengths[1:] -= ends[:-1] + 1
    return ends, lengths


@dataclass(frozen=True)
class Scores:
    """Scores of a confusion matrix, in [0, 1]; arrays are (C,) with background first.

    iou: TP / (TP + FP + FN). false_positives, false_negatives: FP and FN over the same union.
    m_fn, m_fp: means of FN/TP and FP/TP over foreground classes with TP > 0 (SEAM eq. 13, 14), else NaN.
    """

    iou: np.ndarray
    miou: float
    m_fn: float
    m_fp: float
    pixel_accuracy: float
    mean_accuracy: float
    false_positives: np.ndarray
    false_negatives: np.ndarray
    true_positives: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


def score(matrix: np.ndarray, *, absent: str = "zero", ignored_predictions: str = "wrong") -> Scores:
    """Scores of a confusion matrix (C, C + 1).

    absent: "zero" counts a class that is neither in truth nor prediction as IoU 0 (SEAM's evaluation); "skip"
        makes its IoU NaN and averages over the classes in the truth only (ToCo's, AFA's).
    ignored_predictions: pixels predicted 255 are "wrong" (missed by their true class) or left out ("skip").
    """
    for name, value, accepted in (
        ("absent", absent, ("zero", "skip")),
        ("ignored_predictions", ignored_predictions, ("wrong", "skip")),
    ):
        if value not in accepted:
            raise ValueError(f"{name}={value!r}, accepted are {accepted}")
    counted = matrix if ignored_predictions == "wrong" else matrix[:, :-1]
    tp, true, predicted = np.diagonal(matrix), counted.sum(1), matrix[:, :-1].sum(0)
    union = true + predicted - tp
    filler = 0.0 if absent == "zero" else np.nan
    iou = _ratio(tp, union, filler)
    return Scores(
        iou=iou,
        miou=float(iou.mean() if absent == "zero" else _mean(iou[true > 0])),
        m_fn=_mean(((true - tp)[1:] / np.maximum(tp[1:], 1))[tp[1:] > 0]),
        m_fp=_mean(((predicted - tp)[1:] / np.maximum(tp[1:], 1))[tp[1:] > 0]),
        pixel_accuracy=float(_ratio(tp.sum(), true.sum(), np.nan)),
        mean_accuracy=_mean((tp / np.maximum(true, 1))[true > 0]),
        false_positives=_ratio(predicted - tp, union, filler),
        false_negatives=_ratio(true - tp, union, filler),
        true_positives=tp,
        predicted=predicted,
        true=true,
    )


def _ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    return np.where(b > 0, a / np.maximum(b, 1), otherwise)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


class ThresholdCurve:
    """Confusion matrices of argmax over {α, A_k} for the first `steps` α of THRESHOLDS; ties go to the background.

    One pass counts pixels by (true class, best class, number of thresholds below its score). That is exact,
    and curves of shards add up (`a + b`). Scores are compared in float32, as published.
    """

    def __init__(self, num_classes: int, steps: int = len(THRESHOLDS)) -> None:
        self.num_classes, self.steps = num_classes, steps
        self.counts = np.zeros((num_classes, num_classes, steps + 1), dtype=np.int64)

    def update(self, truth: np.ndarray, classes: np.ndarray, scores: np.ndarray) -> None:
        """Add an image: truth (H, W); foreground class ids (k,) in 1..C−1; their scores (k, H, W)."""
        classes, truth = np.asarray(classes, dtype=np.int64), np.asarray(truth)
        if scores.shape != (len(classes), *truth.shape):
            raise ValueError(f"scores {scores.shape}, expected {(len(classes), *truth.shape)}")
        ids, last = classes.tolist(), self.num_classes - 1
        if len(set(ids)) < len(ids) or any(not 1 <= c <= last for c in ids):
            raise ValueError(f"class ids {ids}, accepted are different ids of 1..{last}")
        order = np.argsort(classes)  # of equal scores the lowest class id wins
        best, winner = _highest(np.asarray(scores, dtype=np.float32), order, truth.shape)
        k, levels = max(1, len(classes)), self.steps + 1
        truth = _bytes(truth)
        rows = _columns(self.num_classes).take(truth)
        cells = (rows * k + winner.ravel()) * levels + np.minimum(_thresholds_below(best.ravel()), self.steps)
        table = np.bincount(cells, minlength=(self.num_classes + 2) * k * levels).reshape(-1, k, levels)
        if table[-1].any():
            raise _unknown_class(truth, self.num_classes, "truth")
        self.counts[:, classes[order] if len(classes) else [0]] += table[: self.num_classes]

    def matrices(self) -> np.ndarray:
        """Confusion matrices (thresholds, C, C + 1)."""
        from_above = np.cumsum(self.counts[..., ::-1], axis=2)[..., ::-1]
        foreground = np.moveaxis(from_above[..., 1:], 2, 0)  # pixels whose best class is above threshold i
        out = np.zeros((self.steps, self.num_classes, self.num_classes + 1), dtype=np.int64)
        out[:, :, :-1] = foreground
        out[:, :, 0] = self.counts.sum((1, 2)) - foreground.sum(2)
        return out

    def __add__(self, other: ThresholdCurve) -> ThresholdCurve:
        """Curve of both sets of images."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot add curves of {self.num_classes} and {other.num_classes} classes")
        total = ThresholdCurve(self.num_classes, self.steps)
        total.counts = self.counts + other.counts
        return total


def _highest(scores: np.ndarray, order: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Highest score (H, W), and its place in `order` as uint8; 0 where there is no class."""
    if len(order) == 0:
        return np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    best, winner = scores[order[0]], np.zeros(shape, np.uint8)
    for place, k in enumerate(order[1:], start=1):  # np.argmax over axis 0 is slow
        np.maximum(winner, (scores[k] > best).view(np.uint8) * np.uint8(place), out=winner)
        best = np.maximum(best, scores[k])
    return best, winner


def _thresholds_below(scores: np.ndarray) -> np.ndarray:
    """Number of THRESHOLDS below each score: (n,) uint8.

    ⌊100·s⌋ can be too large by one if s is a threshold in float32 or just below; one comparison corrects it.
    """
    guess = np.clip(scores * np.float32(100), 0, len(THRESHOLDS) - 1).astype(np.uint8)
    return guess + (THRESHOLDS.astype(np.float32)[guess] < scores)
