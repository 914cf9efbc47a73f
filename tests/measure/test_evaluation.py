"""Evaluation over processes: the same counts as in one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wsss.data.dataset import Dataset, write_index
from wsss.measure import evaluation
from wsss.measure.evaluation import pooled_confusion, threshold_curve
from wsss.store.maps import LabelWriter, ScoreWriter

NAMES = ["background", "cat", "dog"]
PALETTE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)


@pytest.fixture
def measured(tmp_path):
    """Twelve images with masks, their scores and their labels."""
    rng = np.random.default_rng(0)
    rows = []
    scores = ScoreWriter(tmp_path / "scores.h5", class_names=NAMES)
    labels = LabelWriter(tmp_path / "labels.h5", class_names=NAMES, palette=PALETTE)
    with scores, labels:
        for i in range(12):
            image_id = f"i{i}"
            Image.fromarray(rng.choice([0, 1, 2, 255], (9, 7)).astype(np.uint8)).save(tmp_path / f"{i}.png")
            Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(tmp_path / f"{i}.jpg")
            rows.append({"image_id": image_id, "image": f"{i}.jpg", "mask": f"{i}.png", "labels": "cat;dog"})
            rows[-1] |= {"split": "train", "measured": "1"}
            scores.add(image_id, np.array([1, 2]), rng.random((2, 9, 7), dtype=np.float32))
            labels.add(image_id, rng.integers(0, 3, (9, 7)).astype(np.uint8))
    write_index(tmp_path, "test", NAMES, PALETTE, rows)
    return Dataset(tmp_path)


def test_two_processes_count_what_one_counts(measured, monkeypatch):
    folder = measured.folder
    alone = threshold_curve(measured, folder / "scores.h5", "train").counts
    labels = pooled_confusion(measured, folder / "labels.h5", "train")
    assert labels.sum() == sum((np.array(Image.open(r.mask)) != 255).sum() for r in measured.records)
    monkeypatch.setattr(evaluation, "PART", 4)
    np.testing.assert_array_equal(threshold_curve(measured, folder / "scores.h5", "train", workers=2).counts, alone)
    np.testing.assert_array_equal(pooled_confusion(measured, folder / "labels.h5", "train", workers=2), labels)
    assert alone.sum() == labels.sum()
