"""Which pixels of a pseudo-label are undecided."""

from __future__ import annotations

import numpy as np
import pytest

from wsss.data.dataset import Record
from wsss.data.loading import DecidedLabels
from wsss.scoremaps import undecided, winner
from wsss.store import LabelWriter, ScoreMap, ScoreWriter

NAMES = ["background", "cat", "dog", "cow"]


def test_the_pixels_that_lead_by_least_are_undecided():
    rng = np.random.default_rng(0)
    scores = ScoreMap(np.array([0, 1, 3]), rng.random((3, 20, 30), dtype=np.float32))
    label = winner(scores)
    ordered = np.sort(scores.scores / scores.scores.sum(0), axis=0)
    lead = ordered[-1] - ordered[-2]
    chosen = undecided(label, scores, 0.3)
    assert chosen.mean() == pytest.approx(0.3, abs=0.01)
    assert lead[chosen].max() <= lead[~chosen].min()


def test_a_label_against_its_scores_is_undecided_before_any_other():
    scores = ScoreMap(np.array([0, 2]), np.stack([np.full((10, 10), 0.6), np.full((10, 10), 0.4)]).astype(np.float32))
    label = np.zeros((10, 10), np.uint8)
    label[:2] = 2  # a CRF's doing, say
    np.testing.assert_array_equal(undecided(label, scores, 0.1), label == 2)


def test_labels_are_read_with_the_undecided_left_out(tmp_path):
    rng = np.random.default_rng(1)
    cams, label = rng.random((1, 8, 9), dtype=np.float32), np.zeros((8, 9), np.uint8)
    with LabelWriter(
        tmp_path / "l", class_names=NAMES, palette=np.zeros((4, 3)), attributes={"threshold": "0.5"}
    ) as out:
        out.add("a", label)
    with ScoreWriter(tmp_path / "s", class_names=NAMES) as out:
        out.add("a", np.array([2]), cams)
    record = Record("a", tmp_path / "a.jpg", None, np.zeros(3, np.float32), "train", False, (8, 9))
    read = DecidedLabels(tmp_path / "l", tmp_path / "s", 0.25, NAMES)(record)
    left_out = read == 255
    assert left_out.mean() == pytest.approx(0.25, abs=0.02) and not read[~left_out].any()
    assert cams[0][left_out].min() >= cams[0][~left_out].max() - 1 / 255, "the highest CAMs doubt the background most"
