"""Mended masks: every format, sizes, ids, mistakes, and what they change of labels, samples and plans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsss.cli.labels import export
from wsss.config.stages import Corrections, Row
from wsss.data.corrections import read_corrections
from wsss.data.dataset import Dataset, write_index
from wsss.data.formats.png.write import write_pngs
from wsss.data.loading import labelled
from wsss.data.palette import voc_palette
from wsss.measure.table import evaluate
from wsss.plan.checks import Check
from wsss.plan.run import missing_inputs, plan_runs
from wsss.stages.corrections import correct
from wsss.store.maps import open_labels
from wsss.store.writers import LabelWriter

NAMES = ["background", "cat", "dog"]
SIZE = (20, 30)
MENDED = np.zeros(SIZE, np.uint8)
MENDED[5:9, 3:20] = 2


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    rows = []
    for i in range(6):
        name = f"day/{i}"
        (tmp_path / "shrunk/day").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), i * 30, np.uint8)).save(tmp_path / f"shrunk/{name}.png")
        row = {"image_id": name, "image": f"shrunk/{name}.png", "mask": "", "labels": "cat;dog", "measured": "0"}
        rows.append(row | {"split": "train" if i < 5 else "val"})
    write_index(tmp_path, "folder", NAMES, voc_palette(), rows)
    with LabelWriter(tmp_path / "train.h5", class_names=NAMES, palette=voc_palette()[:3]) as out:
        for i in range(5):
            out.add(f"day/{i}", np.full(SIZE, i % 3, np.uint8))
    return Dataset(tmp_path)


def given(tmp_path: Path, masks: dict[str, np.ndarray], name: str = "png") -> Path:
    """A folder of masks in a format, made by the exporter of that format."""
    with LabelWriter(tmp_path / "m.h5", class_names=NAMES, palette=voc_palette()[:3]) as out:
        for image_id, mask in masks.items():
            out.add(image_id, mask)
    export(tmp_path / "m.h5", name, tmp_path / "mended")
    return tmp_path / "mended"


@pytest.mark.parametrize("name", ["png", "coco", "labelme", "cvat", "yolo"])
def test_the_format_is_told_by_the_files(dataset, tmp_path, name):
    folder = given(tmp_path, {"day/1": MENDED, "day/3": MENDED.T[:20].repeat(2, 1)[:, :30]}, name)
    Image.new("RGB", SIZE[::-1]).save(folder / "photograph.jpg")
    found = read_corrections(Corrections.model_validate(str(folder)), dataset)
    assert list(found) == ["day/1", "day/3"] and np.array_equal(found["day/1"], MENDED)


def test_names_without_folders_and_masks_of_the_whole_photograph_are_taken(dataset, tmp_path):
    folder = given(tmp_path, {"4": MENDED.repeat(3, 0).repeat(3, 1)})
    found = read_corrections(Corrections(masks=folder), dataset)
    assert np.array_equal(found["day/4"], MENDED)


def test_masks_of_validation_images_are_said_to_be_idle(dataset, tmp_path, caplog):
    folder = given(tmp_path, {"day/5": MENDED})
    with caplog.at_level("WARNING", "wsss"):
        assert read_corrections(Corrections(masks=folder), dataset) == {}
    assert "1 are of validation images, which nothing learns from, e.g. day/5" in caplog.text


@pytest.mark.parametrize("name", ["png", "coco", "labelme", "cvat", "yolo"])
def test_images_that_nobody_drew_on_are_left_out_unless_they_are_listed(dataset, tmp_path, caplog, name):
    folder = given(tmp_path, {"day/1": MENDED, "2": np.zeros_like(MENDED)}, name)
    with caplog.at_level("WARNING", "wsss"):
        assert list(read_corrections(Corrections(masks=folder), dataset)) == ["day/1"]
    assert "1 show nothing, though their images have labels, and are left out" in caplog.text
    (tmp_path / "marked.csv").write_text("image_id\nday/2\n")
    assert list(read_corrections(Corrections(masks=folder, ids=tmp_path / "marked.csv"), dataset)) == ["day/2"]


def test_masks_of_void_or_named_with_the_images_suffix(dataset, tmp_path, caplog):
    write_pngs(
        {"1.jpg": np.where(MENDED, 255, 0).astype(np.uint8), "2": MENDED}, voc_palette()[:3], tmp_path / "mended"
    )
    with caplog.at_level("WARNING", "wsss"):
        assert list(read_corrections(Corrections(masks=tmp_path / "mended"), dataset)) == ["day/1", "day/2"]
    assert "1 show none of their image's classes, e.g. day/1" in caplog.text


def test_only_listed_images_are_taken(dataset, tmp_path):
    folder = given(tmp_path, {"day/1": MENDED, "day/2": MENDED})
    (tmp_path / "marked.csv").write_text("image_id,split\nday/2,train\n")
    assert list(read_corrections(Corrections(masks=folder, ids=tmp_path / "marked.csv"), dataset)) == ["day/2"]
    (tmp_path / "marked.csv").write_text("day/1\nday/2\n")
    with pytest.raises(ValueError, match=r"marked\.csv: no column image_id; found day/1"):
        read_corrections(Corrections(masks=folder, ids=tmp_path / "marked.csv"), dataset)
    (tmp_path / "marked.csv").write_text("image_id\nday/3\n")
    with pytest.raises(ValueError, match=r"marked\.csv: image 'day/3' has no mask in"):
        read_corrections(Corrections(masks=folder, ids=tmp_path / "marked.csv"), dataset)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"day/7": MENDED}, r"mask of 'day/7': no image of the data set has this id; did you mean 'day/\d'"),
        ({"day/1": MENDED[:, 1:]}, r"'day/1': size \(29, 20\), but its image has \(30, 20\)"),
        ({"day/1": MENDED, "1": MENDED}, "image 'day/1' has two masks"),
        ({"day/1": np.where(MENDED, 255, 0).astype(np.uint8)}, "hold nothing but 0 and 255"),
        ({"day/8": MENDED, "day/9": MENDED}, r"\(and 1 more\)"),
    ],
)
def test_mistakes_are_one_line(dataset, tmp_path, masks, message):
    folder = tmp_path / "mended"
    write_pngs(masks, voc_palette()[:3], folder)
    with pytest.raises(ValueError, match=message) as caught:
        read_corrections(Corrections(masks=folder), dataset)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_or_format_is_one_line(dataset, tmp_path):
    folder = tmp_path / "mended"
    write_pngs({"day/1": np.full(SIZE, 9, np.uint8)}, voc_palette()[:3], folder)
    with pytest.raises(ValueError, match="class id 9; there are 3 classes"):
        read_corrections(Corrections(masks=folder), dataset)
    with pytest.raises(ValueError, match="accepted are auto, coco, cvat, labelme, png, yolo"):
        Corrections(masks=folder, format="psd")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no file of a format that is read"):
        read_corrections(Corrections(masks=empty), dataset)


def test_they_replace_those_labels_alone_and_weigh_more(dataset, tmp_path):
    folder = given(tmp_path, {"day/1": MENDED})
    (tmp_path / "out").mkdir()
    correct(Corrections(masks=folder), dataset, tmp_path / "train.h5", tmp_path / "out")
    with open_labels(tmp_path / "train.h5") as before, open_labels(tmp_path / "out/train.h5") as after:
        assert list(after) == list(before) and np.array_equal(after["day/1"], MENDED)
        for other in ("day/0", "day/2", "day/3", "day/4"):
            assert after.record(other) == before.record(other)
        assert json.loads(after.attributes["corrected"]) == ["day/1"]
    plain = [record.image_id for record in dataset.split("train")]
    records, label_of = labelled(dataset, tmp_path / "out/train.h5", 3)
    assert [record.image_id for record in records] == [*plain, "day/1", "day/1"]
    assert np.array_equal(label_of(records[-1]), MENDED)
    assert [r.image_id for r in labelled(dataset, tmp_path / "train.h5", 3)[0]] == plain


def test_they_are_not_measured(dataset, tmp_path):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "mask.png")
    rows = [{"image_id": r.image_id, "image": str(r.image), "mask": "mask.png", "labels": "cat", "split": "train"}
            | {"measured": "1"} for r in dataset.records]  # fmt: skip
    write_index(tmp_path, "folder", NAMES, voc_palette(), rows[:5])
    for count, ids in ((5, ()), (4, ["day/1"]), (0, [f"day/{i}" for i in range(5)])):
        (tmp_path / str(count)).mkdir()
        folder = given(tmp_path / str(count), dict.fromkeys(["day/1", *ids], MENDED))
        mended, made = dataset.folder / str(count) / "train.h5", Corrections(masks=folder)
        correct(made, Dataset(tmp_path), tmp_path / "train.h5", mended.parent)
        labels = mended if ids else tmp_path / "train.h5"
        row = Row(stage="pseudo_label", split="train", file=labels.name)
        evaluate([row], Dataset(tmp_path), {"pseudo_label-train": labels.parent}, {}, mended.parent)
        table = pd.read_csv(mended.parent / "miou.csv")
        assert table["images"].tolist() == ([count] if count else [])


def test_only_what_learns_from_labels_has_another_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = {"a": {"preset": "shapes"}, "b": {"preset": "shapes", "corrections": "mended"}}
    plans = plan_runs({"runs": runs})
    assert "runs.b.corrections.masks: no folder or file 'mended'" in missing_inputs(plans["b"])
    write_pngs({"1": MENDED}, voc_palette()[:3], tmp_path / "mended")
    plans = plan_runs({"runs": runs})
    assert missing_inputs(plans["b"]) is None
    plain, mended = ({step.label: step.key for step in plans[name].steps} for name in "ab")
    changed = {label for label in mended if plain.get(label) != mended[label]}
    assert changed == {"corrections", "train_segmentation", "segment", "quality", "evaluate"}
    first = Check.of(plans["b"], 1).digest
    write_pngs({"1": MENDED.T.copy()}, voc_palette()[:3], tmp_path / "mended")
    again = plan_runs({"runs": runs})["b"]
    assert next(step.key for step in again.steps if step.stage == "corrections") != mended["corrections"]
    assert Check.of(again, 1).digest != first
