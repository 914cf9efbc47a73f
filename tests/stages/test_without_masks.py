"""Stages on data without masks, or with few: a threshold, a table without rows, a sheet with numbers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsss.config.stages import ChooseThreshold, Row
from wsss.data.dataset import Dataset, write_index
from wsss.data.palette import voc_palette
from wsss.localise import choose
from wsss.localise.choose import choose_auto, choose_oracle, choose_threshold
from wsss.measure.quality import quality
from wsss.measure.scoremaps import balanced, relative, winner, with_background
from wsss.measure.table import evaluate
from wsss.store.maps import BACKGROUND_POWER, open_scores
from wsss.store.writers import LabelWriter, ScoreWriter

NAMES = ["background", "cat", "dog"]
TRUTH = np.zeros((20, 20), np.uint8)
TRUTH[:8] = 1


def make(folder, masks):
    """Six images, the last without a label; the first `masks` of them have masks. CAMs are high on the truth."""
    rows = []
    for i in range(6):
        Image.new("RGB", (20, 20)).save(folder / f"{i}.png")
        mask = folder / f"mask{i}.png"
        if i < masks:
            Image.fromarray(TRUTH).save(mask)
        rows.append(
            {
                "image_id": str(i),
                "image": str(folder / f"{i}.png"),
                "mask": str(mask) if i < masks else "",
                "labels": "cat" if i < 5 else "",
                "split": "val" if i == 4 else "train",
                "measured": str(int(i < masks)),
            }
        )
    write_index(folder, "folder", NAMES, voc_palette(), rows)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        records = Dataset(folder).split(split)
        with ScoreWriter(folder / f"{split}.h5", class_names=NAMES) as store:
            for record in records:
                cam = np.where(TRUTH == 1, 0.7, 0.1) + rng.normal(0, 0.03, TRUTH.shape)
                store.add(record.image_id, record.classes, cam[None][: len(record.classes)])
        with LabelWriter(folder / f"{split}_labels.h5", class_names=NAMES, palette=voc_palette(3)) as store:
            for record in records:
                store.add(record.image_id, TRUTH * np.uint8(len(record.classes) > 0))
    return Dataset(folder)


def test_auto_needs_no_mask_and_parts_what_is_high(tmp_path):
    found = choose_auto(make(tmp_path, 0), tmp_path / "train.h5")
    assert 0.2 < found.threshold < 0.6 and found.masks == 0
    assert found.curve["share"].is_monotonic_decreasing and found.curve["share"][0] == 100


@pytest.mark.parametrize("power", [0.2, 2.0, 12.0])
def test_auto_weights_a_power_background_so_that_it_begins_at_the_scores_threshold(tmp_path, power):
    dataset, file, about = make(tmp_path, 0), tmp_path / "refined.h5", {BACKGROUND_POWER: str(power)}
    with (
        open_scores(tmp_path / "train.h5") as cams,
        ScoreWriter(file, class_names=NAMES, attributes=about) as out,
    ):
        for record in dataset.split("train"):
            out.add(record.image_id, *with_background(cams[record.image_id], None, power))
    found = choose_auto(dataset, file)
    with open_scores(file) as maps:
        for record in dataset.split("train"):
            label = winner(balanced(maps[record.image_id], found.threshold))
            np.testing.assert_array_equal(label, TRUTH * np.uint8(len(record.classes) > 0))


def test_oracle_takes_the_few_masks_there_are_and_warns(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "wsss"):
        chosen = choose_oracle(make(tmp_path, 2), tmp_path / "train.h5")
    assert 0.1 < chosen.threshold < 0.7 and chosen.masks == 2 and "2 masks are few" in caplog.text
    assert (chosen.curve["miou_low"] <= chosen.curve["miou_high"]).all()


@pytest.mark.parametrize("highest", [0.0, 0.1, 0.99])
def test_oracle_looks_no_further_than_the_highest(tmp_path, highest):
    dataset, file = make(tmp_path, 6), tmp_path / "train.h5"
    best = choose_oracle(dataset, file).threshold
    assert 0.1 < best <= 0.59  # background 0.1, object 0.7
    settings = ChooseThreshold(policy="oracle", highest=highest)
    found = choose_threshold(settings, dataset, file).threshold
    assert found == min(best, highest)  # the curve rises up to its best


def test_oracle_without_masks_names_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"no masks in split 'train' .*set choose_threshold to auto"):
        choose_oracle(make(tmp_path, 0), tmp_path / "train.h5")


def test_masks_move_the_background_of_refined_maps_only_where_they_are_sure(tmp_path, monkeypatch):
    dataset = make(tmp_path, 5)

    def maps(background: float) -> Path:
        file = tmp_path / f"{background}.h5"
        with ScoreWriter(file, class_names=NAMES) as store:
            for record in dataset.split("train"):
                cat = np.where(TRUTH == 1, 0.6, 0.2)[None][: len(record.classes)]
                own = np.full((1, 20, 20), background)
                store.add(record.image_id, np.r_[0, record.classes], np.concatenate([own, cat]))
        return file

    fits, misses, settings = maps(0.4), maps(0.1), ChooseThreshold(policy="masks", refined=True)
    assert choose_threshold(settings, dataset, fits).threshold == 0.5
    assert choose_threshold(ChooseThreshold(policy="auto"), dataset, misses).threshold == 0.5
    chosen = choose_threshold(settings, dataset, misses)
    assert chosen.threshold == pytest.approx(0.67, abs=0.011) and chosen.source == "masks"
    with open_scores(misses) as store:
        for image_id in ("0", "5"):
            own, weighted = store[image_id], balanced(store[image_id], chosen.threshold)
            expected = np.where(relative(own).scores.max(0, initial=0) > chosen.threshold, 1, 0)
            np.testing.assert_array_equal(winner(weighted), expected)
    monkeypatch.setattr(choose, "measured_records", lambda *_: [])
    assert choose_threshold(settings, dataset, misses).source == "auto"


@pytest.mark.parametrize(("masks", "rows"), [(0, 0), (2, 1), (5, 2)])
def test_only_what_has_masks_is_measured(tmp_path, masks, rows, caplog):
    dataset = make(tmp_path, masks)
    table = [Row(stage="cam", split=split, file=f"{split}.h5") for split in ("train", "val")]
    folders = {f"cam-{split}": tmp_path for split in ("train", "val")}
    with caplog.at_level(logging.INFO, "wsss"):
        evaluate(table, dataset, folders, {"threshold": 0.4, "source": "auto"}, tmp_path / "out")
    found = pd.read_csv(tmp_path / "out" / "miou.csv")
    assert len(found) == rows and list(found.columns[:4]) == ["stage", "split", "threshold", "threshold_source"]
    assert caplog.text.count("is not measured") == 2 - rows
    assert set(found["threshold_source"]) <= {"auto"} and (found["iou_cat"] > 99).all()
    assert (tmp_path / "out" / "curve.csv").is_file() and (tmp_path / "out" / "summary.json").is_file()


def test_the_sheets_of_a_split(tmp_path):
    quality(make(tmp_path, 0), tmp_path / "train.h5", tmp_path / "train_labels.h5", 0.4, tmp_path / "out")
    sheet = pd.read_csv(tmp_path / "out" / "quality.csv").set_index("class")
    assert sheet.loc["cat", ["images", "found", "agreement", "area_median"]].tolist() == [4, 100, 100, 40]
    images = pd.read_csv(tmp_path / "out" / "images.csv", dtype={"image_id": str})
    assert len(images) == 5 and (images["agreement"] == 100).all()
