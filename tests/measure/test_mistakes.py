"""Doubted labels: which ones, in which order, and that folds are a partition."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsss.data.dataset import Record
from wsss.measure.mistakes import folds, label_mistakes


def test_every_image_is_held_out_once():
    parts = folds(23)
    assert sorted(np.concatenate(parts).tolist()) == list(range(23)) and {len(part) for part in parts} == {4, 5}
    assert len(folds(2)) == 2


def test_labels_on_the_wrong_side_are_doubted_the_worst_first():
    rng = np.random.default_rng(0)
    truth = np.arange(40) % 2 == 0
    scores = np.where(truth, 0.8, 0.2)[:, None] + rng.uniform(-0.05, 0.05, (40, 1))
    given = truth.copy()
    given[[4, 7]] = ~given[[4, 7]]  # 4 lacks its label, 7 has a wrong one
    scores[7], scores[4] = 0.01, 0.95
    records = [
        Record(f"i{n}", Path("i"), None, np.array([label], np.float32), "train", False, (8, 8))
        for n, label in enumerate(given)
    ]
    table = label_mistakes(records, scores, ["background", "cat"])
    worst = table.iloc[:2]
    assert worst["image_id"].tolist() == ["i7", "i4"] and worst["labelled"].tolist() == [1, 0]
    assert worst["hint"].tolist() == ["does not look like one", "looks like one"]
    assert (
        label_mistakes(records[:0] or records[::2][:3], scores[:3], ["background", "cat"]).columns.tolist()[0]
        == "image_id"
    )
