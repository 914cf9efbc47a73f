"""Conversion of stored score maps to labels."""

from __future__ import annotations

import numpy as np

from wsss.store.maps import ScoreMap


def with_background(scores: ScoreMap, threshold: float | None, power: float | None = None) -> ScoreMap:
    """The maps with a background map first: their own, else (1 − max)^power if given, else the constant threshold.

    Raises:
        ValueError: the maps have no background map, and neither power nor threshold is given.
    """
    if 0 in scores.classes:
        order = np.argsort(scores.classes)
        return ScoreMap(scores.classes[order], scores.scores[order])
    shape = (1, *scores.scores.shape[1:])
    if power is not None:
        found = np.power(1 - scores.scores.max(0, initial=0, keepdims=True), power, dtype=np.float32)
        return ScoreMap(np.r_[0, scores.classes], np.concatenate([found, scores.scores]))
    if threshold is None:
        raise ValueError("maps without background need a threshold; set choose_threshold")
    constant = np.full(shape, threshold, np.float32)
    return ScoreMap(np.r_[0, scores.classes], np.concatenate([constant, scores.scores]))


def relative(scores: ScoreMap) -> ScoreMap:
    """Shares s_k = f_k / (max f + b) in [0, 1] of maps with a background map b, which is dropped; other maps unchanged.

    A class wins over the background weighted by t / (1 − t) where its share is above t.
    """
    if 0 not in scores.classes:
        return scores
    own = scores.classes > 0
    classes, maps = scores.classes[own], scores.scores[own]
    total = maps.max(0, initial=0) + scores.scores[~own][0]
    return ScoreMap(classes, maps / np.maximum(total, 1e-9))


def balanced(scores: ScoreMap, threshold: float) -> ScoreMap:
    """The maps with their background map times t / (1 − t), t in [0, 1), so that `relative` shares above t win."""
    weighted = scores.scores.copy()
    weighted[scores.classes == 0] *= np.float32(threshold / max(1 - threshold, 1e-6))
    return ScoreMap(scores.classes, weighted)


def two_highest(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The highest and the second-highest value (H, W) of at least two maps (k, H, W) at every pixel."""
    highest, second = np.maximum(*scores[:2]), np.minimum(*scores[:2])
    for found in scores[2:]:
        second = np.maximum(second, np.minimum(highest, found))
        highest = np.maximum(highest, found)
    return highest, second


def winner(scores: ScoreMap) -> np.ndarray:
    """(H, W) uint8: the class id of the highest map; ties go to the first, the background."""
    return scores.classes[scores.scores.argmax(0)].astype(np.uint8)
