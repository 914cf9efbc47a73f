"""Threshold of activation maps from the maps alone: minimum cross entropy (Li & Lee 1993).

Background scores concentrate near 0 and object scores spread higher, with no clear valley between. The criterion
minimises the cross entropy between the scores and their means on either side of the threshold. Unlike Otsu's, it does
not assume that both sides have equal variance.
"""

from __future__ import annotations

import numpy as np

CELLS = 256
"""Histogram cells over [0, 1]; stored scores have 8 bits."""


def add_best_scores(histogram: np.ndarray, scores: np.ndarray) -> None:
    """Adds each pixel's highest score, of maps (k, H, W) in [0, 1], to the histogram in place; k = 0 adds nothing."""
    if len(scores):
        levels = np.rint(scores.max(0) * (CELLS - 1)).astype(np.intp)
        histogram += np.bincount(levels.ravel(), minlength=CELLS)


def minimum_cross_entropy(histogram: np.ndarray) -> float:
    """The threshold in (0, 1) that splits a histogram of scores over [0, 1] (Li & Lee 1993, eq. 8).

    Minimises −m₀ log μ₀ − m₁ log μ₁, with m the sum and μ the mean of the scores on either side.

    Raises:
        ValueError: fewer than two different scores.
    """
    counts = np.asarray(histogram, np.float64)
    if np.count_nonzero(counts) < 2:
        raise ValueError("the activation maps are constant: no threshold splits them; look at the classifier's loss")
    values = (np.arange(len(counts)) + 0.5) / len(counts)
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * values)[:-1]
    above, sum_above = counts.sum() - below, (counts * values).sum() - sum_below
    valid = (below > 0) & (above > 0)
    cost = np.full(len(below), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -sum_below * np.log(sum_below / below) - sum_above * np.log(sum_above / above)
    cost[valid] = entropy[valid]
    best = np.flatnonzero(cost <= cost.min() + 1e-9 * abs(cost.min()))
    return float((best.mean() + 1) / len(counts))
