"""Evaluation over processes: the same counts as in one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wsss.data.dataset import Dataset, write_index
from wsss.measure import bootstrap, evaluation
from wsss.measure.bootstrap import counts, interval, resampled
from wsss.measure.evaluation import pooled_confusion, threshold_curve
from wsss.store.writers import LabelWriter, ScoreWriter

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
    curve, curve_groups = threshold_curve(measured, folder / "scores.h5", "train")
    labels, groups = pooled_confusion(measured, folder / "labels.h5", "train")
    assert labels.sum() == sum((np.array(Image.open(r.mask)) != 255).sum() for r in measured.records)
    monkeypatch.setattr(evaluation, "PART", 4)
    for alone, shared in zip(
        (curve, curve_groups, labels, groups),
        (
            *threshold_curve(measured, folder / "scores.h5", "train", workers=2),
            *pooled_confusion(measured, folder / "labels.h5", "train", workers=2),
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(alone, shared)
    assert (curve.sum((1, 2)) == labels.sum()).all()
    assert groups.shape == (12, 3, 3) and curve_groups.shape == (12, 100, 3, 3)
    np.testing.assert_array_equal(groups.sum(0), counts(labels))
    np.testing.assert_array_equal(curve_groups.sum(0), counts(curve))


def test_many_images_are_drawn_in_groups(measured, monkeypatch):
    whole, _ = pooled_confusion(measured, measured.folder / "labels.h5", "train")
    monkeypatch.setattr(bootstrap, "GROUPS", 4)
    matrix, groups = pooled_confusion(measured, measured.folder / "labels.h5", "train")
    assert len(groups) == 4
    np.testing.assert_array_equal(matrix, whole)


def test_an_interval_holds_the_measured_value_and_narrows_with_images():
    rng = np.random.default_rng(0)
    right = rng.integers(50, 100, (400, 2))
    groups = np.stack([right, np.full_like(right, 100), np.full_like(right, 100)], axis=1)
    widths = []
    for count in (10, 400):
        low, high = interval(groups[:count])
        own = groups[:count].sum(0)
        assert low < 100 * (own[0] / (own[1] + own[2] - own[0])).mean() < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
    assert interval(groups[:1]) is None


def test_a_class_missing_from_a_draw_is_left_out_and_one_that_never_occurs_counts_nothing():
    groups = np.zeros((20, 3, 3), np.int64)
    groups[:, :, 0] = 100  # background, right everywhere
    groups[0, :, 1] = 50  # a class of one image, right there
    np.testing.assert_allclose(resampled(groups), 2 / 3)
