"""Every kind of stage with its tensors on another device than the CPU, which refuses to mix with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

import second_device
from tiny import environment
from tiny_systems import foundation_runs, run_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DATA = {"dataset": "shapes", "train": 8, "val": 4}
BRIEF = {"training": {"epochs": 1, "batch_size": 4}}
FROZEN = {"name": "test_resnet", "output_stride": 8, "pretrained": False, "weights": None}
SHAPES = {
    "walk": {
        "preset": "shapes",
        "train_classifier": BRIEF,
        "train_affinity": BRIEF,
        "infer_cam": {"localiser": "gradcam"},
        "make_pseudo_labels": {"par": {"kernel": "pamr"}},
        "train_segmentation": BRIEF,
        "upper_bound": False,
    },
    "frozen": {
        "preset": "frozen",
        "compute_features": {"backbone": FROZEN},
        "train_classifier": {"backbone": FROZEN, "method": {"steps": 50}},
        "train_segmentation": {"backbone": FROZEN, "training": {"epochs": 1}},
    },
}


def test_stages_compute_on_another_device(tmp_path):
    runs = {name: {**run, "prepare_data": DATA} for name, run in SHAPES.items()}
    for name in ("irn", "afa", "toco", "acr"):
        (tmp_path / name).mkdir()
        runs[name] = run_of(name, tmp_path / name)
    (tmp_path / "foundation").mkdir()
    runs |= foundation_runs(tmp_path / "foundation")
    execution = {"shards": 1, "device": "cuda:0", "workers": 0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"runs": runs, "execution": execution}))
    command = [sys.executable, second_device.__file__, str(tmp_path), *(f"results/{name}/miou.csv" for name in runs)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert all((tmp_path / "results" / name / "miou.csv").is_file() for name in runs)
    assert "on cuda:0" in done.stderr
