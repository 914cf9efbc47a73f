"""Average precision."""

from __future__ import annotations

import numpy as np

from wsss.measure.ranking import average_precision


def test_average_precision_by_hand_and_whatever_the_order_of_ties():
    scores = np.array([[0.9, 1.0, 3.0], [0.8, 1.0, 2.0], [0.7, 1.0, 1.0], [0.6, 1.0, 0.0]])
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(average_precision(scores, labels), [(1 + 2 / 3) / 2, 1 / 4, np.nan])
    turned = np.argsort([2, 0, 3, 1])
    np.testing.assert_allclose(average_precision(scores[turned], labels[turned]), average_precision(scores, labels))
