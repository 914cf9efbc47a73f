"""The threshold without masks: where the classes of scores part, whatever their sizes."""

from __future__ import annotations

import numpy as np
import pytest

from wsss.localise.thresholds import CELLS, add_best_scores, minimum_cross_entropy


def histogram(*parts):
    counts = np.zeros(CELLS, np.int64)
    for scores in parts:
        add_best_scores(counts, np.asarray(scores, np.float32).reshape(1, 1, -1))
    return counts


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_two_heaps_are_parted_whatever_their_sizes(share):
    rng = np.random.default_rng(0)
    n = int(20_000 * share)
    low, high = rng.beta(2, 30, 20_000 - n), rng.beta(12, 6, n)
    found = minimum_cross_entropy(histogram(low, high))
    assert (low > found).mean() < 0.05 and (high < found).mean() < 0.1


def test_two_values_are_parted_midway():
    assert minimum_cross_entropy(histogram([0.2] * 10, [0.8] * 3)) == pytest.approx(0.5, abs=0.01)


def test_against_the_published_iteration():
    """Li & Tam (1998): t = (μ₁ − μ₀) / (log μ₁ − log μ₀) at the optimum."""
    scores = np.random.default_rng(1).beta(1, 4, 200_000)
    counts = histogram(scores)
    t = 0.3
    for _ in range(200):
        low, high = scores[scores <= t].mean(), scores[scores > t].mean()
        t = (high - low) / (np.log(high) - np.log(low))
    assert minimum_cross_entropy(counts) == pytest.approx(t, abs=2 / CELLS)


def test_the_best_class_counts_and_no_class_counts_nothing():
    counts = histogram()
    add_best_scores(counts, np.array([[[0.0, 1.0]], [[0.5, 0.2]]], np.float32))
    add_best_scores(counts, np.zeros((0, 4, 4), np.float32))
    assert counts.sum() == 2 and counts[128] == 1 and counts[255] == 1


def test_constant_maps_are_an_error():
    with pytest.raises(ValueError, match="the activation maps are constant"):
        minimum_cross_entropy(histogram([0.5] * 9))
