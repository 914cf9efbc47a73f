"""Presets on frozen transformers: they are whole, and run from images to miou.csv with a tiny one."""

from __future__ import annotations

import pandas as pd
import pytest

from tiny import Project
from wsss.config.loading import PRESETS, load_run
from wsss.plan.rehearsal import check_networks

VIT = {"name": "test_vit", "pretrained": False}


@pytest.mark.parametrize("preset", [["dino-propagation"], ["clip-es", "token-decoder"]])
def test_networks_of_the_preset_fit_together(preset):
    run = {"preset": preset, "prepare_data": {"dataset": "shapes"}}
    check_networks(load_run("x", {"x": run}, PRESETS), 1, "x")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_images_to_the_table(tmp_path):
    run = {
        "preset": "dino-propagation",
        "prepare_data": {"dataset": "shapes", "train": 6, "val": 3},
        "compute_features": {"backbone": VIT},
        "train_classifier": {"backbone": VIT},
        "choose_threshold": 0.4,
        "train_segmentation": {
            "backbone": VIT,
            "options": {"width": 16, "heads": 2, "layers": 1},
            "training": {"epochs": 1, "batch_size": 3, "augment": {"crop": 96}},
        },
        "segment": {"scales": [1.0]},
    }
    project = Project(tmp_path, run)
    finished = project.snakemake()
    assert finished.returncode == 0, finished.stderr[-3000:]
    rows = pd.read_csv(project.table)["stage"].tolist()
    assert {"cam", "refined", "pseudo_label", "segmentation"} <= set(rows)
