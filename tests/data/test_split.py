"""The split keeps every class's share, whatever the labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss.data.split import stratified_split


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 200), st.integers(1, 12), st.floats(0.1, 0.5))
def test_shares_are_kept(seed, count, classes, fraction):
    rng = np.random.default_rng(seed)
    labels = rng.random((count, classes)) < rng.uniform(0.05, 0.6, classes)
    val = stratified_split(labels, fraction, seed)
    assert abs(val.mean() - fraction) < 0.1 + 3 / count
    missed = []
    for column in labels.T:
        n = column.sum()
        assert n == 0 or (column & ~val).any(), "a class without a training image"
        missed.append(abs(val[column].sum() - fraction * n))
        assert missed[-1] <= max(7, 0.25 * n)  # one of 4000 random data sets misses a class by 0.23 n
    assert np.mean(missed) <= 2.5


def test_the_seed_decides():
    labels = np.random.default_rng(0).random((60, 3)) < 0.4
    first, again, other = (stratified_split(labels, 0.25, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_two_images_make_two_sides():
    assert stratified_split(np.ones((2, 1)), 0.1, 0).sum() == 1
    assert stratified_split(np.eye(2), 0.5, 0).sum() == 1


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.2), (5, 0.0), (5, 1.0)])
def test_what_cannot_be_split(count, fraction):
    with pytest.raises(ValueError, match="cannot split"):
        stratified_split(np.ones((count, 1)), fraction, 0)
