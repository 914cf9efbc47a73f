"""The quality sheet: numbers by hand on two images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from wsss.data.dataset import Record
from wsss.measure.quality import class_sheet, measure
from wsss.store.maps import ScoreMap


def record(*classes):
    labels = np.zeros(3, np.float32)
    labels[[c - 1 for c in classes]] = 1
    return Record("i", "i.jpg", None, labels, "train", False, (10, 10))


def test_an_image_with_a_label_that_is_not_found():
    scores = np.zeros((2, 10, 10), np.float32)
    scores[0, :4] = 0.8  # class 1 in rows 0..3, against the label's 0..1
    scores[1, 9] = 0.22  # class 2 hardly above the threshold, and not in the label
    label = np.zeros((10, 10), np.uint8)
    label[:2] = 1
    row, present = measure(record(1, 2), ScoreMap(np.array([1, 2]), scores), label, 0.2)
    assert row["agreement"] == pytest.approx(25) and row["missing"] == [2]
    assert row["unsure"] == pytest.approx(10) and row["foreground"] == pytest.approx(20)
    assert [p["both"] for p in present] == [20, 0] and [p["either"] for p in present] == [40, 10]


def test_an_image_without_labels_is_certain():
    scores = ScoreMap(np.zeros(0, np.int64), np.zeros((0, 10, 10), np.float32))
    row, present = measure(record(), scores, np.zeros((10, 10), np.uint8), 0.2)
    assert (row["agreement"], row["unsure"], row["missing"], present) == (100, 0, [], [])


def test_the_sheet_pools_a_class_and_says_what_to_check():
    counts = pd.DataFrame(
        [(1, 50, 100, 0.2, True), (1, 30, 60, 0.4, True), (2, 0, 10, 0.0, False), (2, 1, 10, 0.01, True)],
        columns=["class", "both", "either", "area", "found"],
    )
    sheet = class_sheet(counts, ["background", "cat", "dog", "bus"]).set_index("class")
    assert sheet.loc["cat", "agreement"] == pytest.approx(50) and sheet.loc["cat", "area_median"] == pytest.approx(30)
    assert sheet.loc["cat", "hint"] == "" and sheet.loc["dog", "hint"].startswith("not found in 50 %")
    assert sheet.loc["bus", ["found", "agreement", "area_median"]].isna().all()
    assert sheet.loc["bus", "images"] == 0 and "no training image" in sheet.loc["bus", "hint"]
