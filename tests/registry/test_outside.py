"""CONTRIBUTING.md's toys in a package outside: a method, a refinement, a source and a format with no edit in wsss."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tiny import ROOT

pytestmark = pytest.mark.timeout(600)

BLOCK = re.compile(r"^```python\n# src/(wsss/\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GROUPS = {"methods": "methods", "refine": "refinements", "data.sources": "sources", "data.formats": "formats"}
"""Room → entry points."""


TRAINING = {"epochs": 2, "batch_size": 4, "augment": {"crop": 48}}
RUN = {
    "prepare_data": {"dataset": "squares"},
    "train_classifier": {
        "method": {"name": "colours", "gain": 2.0},
        "backbone": {"name": "test_resnet", "pretrained": False},
        "training": TRAINING,
    },
    "infer_cam": {"scales": [1.0]},
    "refine_cam": {"method": "powers", "power": 1.5},
    "make_pseudo_labels": {"crf": None},
    "train_segmentation": {
        "backbone": {"name": "test_resnet", "output_stride": 8, "pretrained": False},
        "options": {"decoder_channels": 16},
        "training": TRAINING,
    },
}


def pages() -> dict[str, str]:
    """Module → code of every block of CONTRIBUTING.md that is a file of a component."""
    found = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text())
    return {path.removesuffix(".py").replace("/", "."): code for path, code in found}


@pytest.fixture
def outside(tmp_path):
    """The environment of a machine on which a package with CONTRIBUTING.md's components is installed."""
    place, points = tmp_path / "site", []
    for module, code in pages().items():
        room, name, file = module.removeprefix("wsss.").rsplit(".", 2)
        code = code.replace(f"wsss.{room}.{name}.", f"toy.{name}.")
        (place / "toy" / name).mkdir(parents=True, exist_ok=True)
        (place / "toy" / name / f"{file}.py").write_text(code)
        if file == "settings":
            points.append(f"[wsss.{GROUPS[room]}]\n{name} = toy.{name}.settings\n")
    for folder in (place / "toy", *(place / "toy").iterdir()):
        (folder / "__init__.py").touch()
    assert len(points) == len(GROUPS)
    info = place / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(points))
    path = os.pathsep.join([str(place), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run(words, outside, folder):
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["pseudo-labels", "whole"])
def test_a_package_outside_runs_through_the_pipeline(outside, tmp_path, whole):
    work = tmp_path / "work"
    work.mkdir()
    settings = RUN if whole else RUN | {"train_segmentation": None}
    (work / "config.yaml").write_text(yaml.safe_dump({"runs": {"toy": settings}, "execution": {"shards": 1}}))
    snakemake = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--quiet", "all"]
    done = run([*snakemake, "--", "results/toy/miou.csv", "results/toy/report.html"], outside, work)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(work / "results/toy/miou.csv")
    assert {"cam", "refined", "pseudo_label", *(["segmentation"] if whole else [])} <= set(table["stage"])
    file = "results/toy/make_pseudo_labels/train.h5"
    exported = run(["wsss.cli.labels", "export", file, "--format", "counts", "--out", "counts"], outside, work)
    assert exported.returncode == 0, exported.stderr
    counts = [path.read_text().split() for path in sorted((work / "counts").iterdir())]
    assert len(counts) == 6 and all(sum(map(int, row)) == 40 * 48 for row in counts)
    described = run(["wsss.cli.describe", "refine_cam"], outside, work)
    assert "powers" in described.stdout or "exponent" in described.stdout
    wrong = yaml.safe_dump({"runs": {"toy": RUN | {"refine_cam": {"method": "powers", "pover": 1}}}})
    Path(work / "config.yaml").write_text(wrong)
    refused = run([*snakemake, "--", "results/toy/miou.csv"], outside, work)
    assert "did you mean 'power'" in refused.stderr
