"""Stored score maps to labels."""

from __future__ import annotations

import numpy as np

from wsss.store import ScoreMap


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


def shares(scores: ScoreMap) -> np.ndarray:
    """(L, H, W) that sum to 1 at every pixel with any score."""
    return scores.scores / np.maximum(scores.scores.sum(0), 1e-5)


def undecided(label: np.ndarray, scores: ScoreMap, share: float) -> np.ndarray:
    """(H, W) bool: the `share` of pixels whose label (H, W) leads the best other class by least, or trails it.

    scores: with background; what the labels were made of, so that a label that a CRF changed comes first.
    """
    own = label == scores.classes[:, None, None]
    parts = shares(scores)
    margin = np.where(own, parts, 0).sum(0) - np.where(own, 0, parts).max(0)
    return margin <= np.quantile(margin, share)
