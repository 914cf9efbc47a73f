"""The model card stands beside the weights and says what is known, and what is not."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
import yaml

from wsss.config.registry import SOURCES
from wsss.data.cards import data_card
from wsss.report.card import model_card, write_model_folder
from wsss.store.about import read_about
from wsss.store.models import read_model, save_model

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
    (stages / "segment").mkdir()
    (folder / "segment").symlink_to(stages / "segment")
    (stages / "segment" / "config.yaml").write_text(yaml.safe_dump({"scales": [2.0], "flip": False}))
    (stages / "prepare_data" / "config.yaml").write_text(yaml.safe_dump({"max_edge": 40}))
    save(stages, 1.0)
    (stages / "prepare_data" / "data_card.md").write_text(
        data_card(SOURCES["voc"].Settings.about, ["background", "cat", "dog"], ROWS)
    )
    (stages / "prepare_data" / "dataset.json").write_text(
        json.dumps({"name": "x", "class_names": ["background", "cat", "dog"], "palette": [[0, 0, 0]] * 3})
    )
    pd.DataFrame(columns=["stage", "split", "images", "miou"]).to_csv(folder / "miou.csv", index=False)
    return folder


def save(stages, weight):
    model = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(model.weight, weight)
    save_model(model, stages / "train_segmentation" / "model.safetensors", "segmentation", {}, ["background", "cat"])


def content(run, folder):
    tensors, *about = read_model(run / folder / "model.safetensors", "segmentation")
    return float(tensors["weight"]), about


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
    assert content(run, "model") == content(run, "train_segmentation")
    assert read_about(run / "model" / "model.safetensors")["views"] == {
        "segment": {"scales": [2.0], "flip": False},
        "max_edge": 40,
    }


def test_a_card_with_masks_has_the_numbers(run):
    row = {"stage": "segmentation", "split": "val", "images": 5, "miou": 51.25, "iou_background": 80.0, "iou_cat": 22.5}
    pd.DataFrame([row]).to_csv(run / "miou.csv", index=False)
    make(run)
    card = (run / "model" / "model_card.md").read_text()
    assert "| segmentation | val | 5 | 51.25 |" in card and "cat 22.5" in card


def test_new_weights_take_the_place_of_old_ones(run):
    make(run)
    save(run.parent / "stages", 2.0)
    make(run)
    assert content(run, "model")[0] == 2


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


def test_names_on_a_card_are_only_text():
    rows = [{"split": "train", "mask": "", "labels": "a|b"}, {"split": "val", "mask": "", "labels": "<b>_x_"}]
    card = data_card(SOURCES["folder"].Settings.about, ["background", "a|b", "<b>_x_"], rows)
    assert r"| a\|b | 1 | 0 |" in card and r"| \<b\>\_x\_ | 0 | 1 |" in card
