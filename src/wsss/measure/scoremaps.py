"""Stored score maps to labels."""

from __future__ import annotations

import numpy as np

from wsss.store.maps import ScoreMap


def with_background(scores: ScoreMap, threshold: float | None) -> ScoreMap:
    """The maps with a background map first: their own, or the constant threshold.

    Raises:
        ValueError: there is neither.
    """
    if 0 in scores.classes:
        order = np.argsort(scores.classes)
        return ScoreMap(scores.classes[order], scores.scores[order])
    if threshold is None:
        raise ValueError("maps without background need a threshold; set infer_cam.threshold")
    constant = np.full((1, *scores.scores.shape[1:]), threshold, np.float32)
    return ScoreMap(np.r_[0, scores.classes], np.concatenate([constant, scores.scores]))


def winner(scores: ScoreMap) -> np.ndarray:
    """(H, W) uint8: the class id of the highest map; ties go to the first, the background."""
    return scores.classes[scores.scores.argmax(0)].astype(np.uint8)
