"""Average precision of a classifier's ranking of images."""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision (K,) in [0, 1] of each class; NaN for a class without positives.

    scores (N, K), labels (N, K) in {0, 1}. Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores, without interpolation; images of
    equal score enter together, so that their order has no effect.
    """
    found = np.full(scores.shape[1], np.nan)
    for k in np.flatnonzero(labels.sum(0)):
        order = np.argsort(-scores[:, k], kind="stable")
        ranked, hits = scores[order, k], np.cumsum(labels[order, k])
        ends = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]  # the last image of each score
        precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
        found[k] = np.sum(np.diff(recall, prepend=0.0) * precision)
    return found
