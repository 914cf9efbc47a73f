"""The model card stands beside the weights and says what is known, and what is not."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml

from wsss.config.registry import SOURCES
from wsss.data.cards import data_card
from wsss.report.card import model_card, write_model_folder

ROWS = [
    {"split": "train", "mask": "", "labels": "cat;dog"},
    {"split": "train", "mask": "m.png", "labels": "cat"},
    {"split": "val", "mask": "", "labels": ""},
]


@pytest.fixture
def run(tmp_path):
    stages, folder = tmp_path / "stages", tmp_path / "x"
    folder.mkdir()
    for stage in ("prepare_data", "train_segmentation"):
        (stages / stage).mkdir(parents=True)
        (folder / stage).symlink_to(stages / stage)
    settings = {"architecture": "FPN", "backbone": {"name": "resnet18"}, "labels": "pseudo_labels"}
    (stages / "train_segmentation" / "config.yaml").write_text(yaml.safe_dump(settings))
    (stages / "train_segmentation" / "versions.json").write_text(json.dumps({"torch": "9.9"}))
    (stages / "train_segmentation" / "model.safetensors").write_bytes(b"weights")
    (stages / "prepare_data" / "data_card.md").write_text(
        data_card(SOURCES["voc"].Settings.about, ["background", "cat", "dog"], ROWS)
    )
    (stages / "prepare_data" / "dataset.json").write_text(
        json.dumps({"name": "x", "class_names": ["background", "cat", "dog"], "palette": [[0, 0, 0]] * 3})
    )
    pd.DataFrame(columns=["stage", "split", "images", "miou"]).to_csv(folder / "miou.csv", index=False)
    return folder


def make(run):
    write_model_folder(run, model_card(run, run / "miou.csv"))


def test_a_card_without_masks_says_so(run):
    make(run)
    card = (run / "model" / "model_card.md").read_text()
    for text in (
        "FPN on resnet18",
        "Not measured",
        "licence: apache-2.0",
        "3, ids from 0: background, cat, dog",
        "torch: 9.9",
        "IJCV",
    ):
        assert text in card
    assert (run / "model" / "model.safetensors").read_bytes() == b"weights"


def test_a_card_with_masks_has_the_numbers(run):
    row = {"stage": "segmentation", "split": "val", "images": 5, "miou": 51.25, "iou_background": 80.0, "iou_cat": 22.5}
    pd.DataFrame([row]).to_csv(run / "miou.csv", index=False)
    make(run)
    card = (run / "model" / "model_card.md").read_text()
    assert "| segmentation | val | 5 | 51.25 |" in card and "cat 22.5" in card


def test_new_weights_take_the_place_of_old_ones(run):
    make(run)
    (run / "train_segmentation" / "model.safetensors").unlink()
    (run / "train_segmentation" / "model.safetensors").write_bytes(b"new")
    make(run)
    assert (run / "model" / "model.safetensors").read_bytes() == b"new"


def test_a_run_without_a_network_has_no_card_and_keeps_no_earlier_one(run):
    make(run)
    (run / "train_segmentation" / "model.safetensors").unlink()
    make(run)
    assert list((run / "model").iterdir()) == []


@pytest.mark.parametrize("name", SOURCES.modules)
def test_a_data_card_counts_and_cites(name):
    about = SOURCES[name].Settings.about
    card = data_card(about, ["background", "cat", "dog"], ROWS)
    assert "| images | 2 | 1 |" in card and "| images with masks | 1 | 0 |" in card and "| cat | 2 | 0 |" in card
    assert about.licence in card and all(text in card for text in about.citations)
