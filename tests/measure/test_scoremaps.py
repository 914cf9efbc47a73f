"""Score maps as labels and as the two highest scores."""

from __future__ import annotations

import numpy as np
import pytest

from wsss.measure.scoremaps import two_highest


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_two_highest_are_the_last_two_of_the_sorted_maps(count):
    scores = np.random.default_rng(count).integers(0, 4, (count, 20, 30)).astype(np.float32)  # with ties
    highest, second = two_highest(scores)
    np.testing.assert_array_equal(np.stack([second, highest]), np.sort(scores, axis=0)[-2:])
