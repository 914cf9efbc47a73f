"""A package outside the tree brings a method, a refinement, a data source and a format; nothing in wsss is edited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tiny import ROOT

pytestmark = pytest.mark.timeout(600)

METHOD = '''
from typing import Literal
from pydantic import Field
from wsss.config.common import Component

class Settings(Component):
    """Colours: a class score is a linear function of a pixel's colour."""

    implementation = "toy.network:Colours"
    name: Literal["colours"]
    gain: float = Field(1.0, description="factor of the scores")
'''
NETWORK = """
import inspect
import torch
from torch import nn
from wsss.methods.base import Method

class Colours(Method):
    def __init__(self, backbone, *given, **more):
        super().__init__()
        settings = given[1] if len(given) > 1 else None
        names = given[0]
        self.backbone = backbone
        self.num_classes = names if isinstance(names, int) else len(names) - 1
        self.gain = settings.gain if settings is not None else more["gain"]
        self.classifier = nn.Conv2d(3, self.num_classes, 1)

    def forward(self, batch, step):
        return {"cls": nn.functional.multilabel_soft_margin_loss(self.logits(batch.images), batch.labels)}

    def activation_maps(self, images):
        return self.gain * self.classifier(images).relu()

    def logits(self, images):
        return self.classifier(images).mean((2, 3))

    def head_parameters(self):
        return list(self.classifier.parameters())
"""
REFINEMENT = '''
from typing import Literal
from pydantic import Field
from wsss.config.common import Component

class Settings(Component):
    """Powers: every map to a power, the background what is left."""

    implementation = "toy.powers:Powers"
    method: Literal["powers"]
    power: float = Field(2.0, description="exponent")
'''
POWERS = """
import torch

class Powers:
    def __init__(self, settings, models, device):
        self.power = settings.power

    def __call__(self, images, maps):
        return [torch.cat([1 - m.amax(0, keepdim=True), m]) for m in (cams**self.power for cams in maps)]
"""
SOURCE = '''
from pathlib import Path
from typing import Literal
from wsss.data.sources.base import About, Source

class Settings(Source):
    """Squares: bright squares and dark ones."""

    implementation = "toy.squares:read"
    about = About("squares", "free")
    dataset: Literal["squares"]
    count: int = 12
'''
SQUARES = """
import numpy as np
from PIL import Image
from wsss.data.palette import voc_palette
from wsss.data.sources.base import Index

def read(settings, out, workers, preflight):
    rows, rng = [], np.random.default_rng(0)
    for i in range(settings.count):
        kind = i % 2
        image = rng.integers(60, 120, (40, 48, 3)).astype(np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        y, x = rng.integers(0, 20, 2)
        image[y : y + 18, x : x + 18] = (250, 20, 20) if kind else (20, 20, 250)
        mask[y : y + 18, x : x + 18] = kind + 1
        (out / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(out / "images" / f"{i}.png")
        Image.fromarray(mask).save(out / "images" / f"{i}_mask.png")
        rows.append({"image_id": str(i), "image": f"images/{i}.png", "mask": f"images/{i}_mask.png",
                     "labels": ("blue", "red")[kind], "split": "val" if i % 4 > 1 else "train", "measured": "1"})
    return Index(["background", "blue", "red"], voc_palette(), rows)
"""
FORMAT = '''
from typing import Literal
from wsss.config.common import Component

class Settings(Component):
    """Counts: how many pixels each class has, as text."""

    implementation = "toy.counts:write"
    format: Literal["counts"]
'''
COUNTS = """
import numpy as np

def write(settings, store, out):
    out.mkdir(parents=True)
    for i in store:
        (out / f"{i}.txt").write_text(" ".join(map(str, np.bincount(store[i].ravel(), minlength=3)[:3])))
    return len(store)
"""
MODULES = {
    "method": METHOD, "network": NETWORK, "refinement": REFINEMENT, "powers": POWERS, "source": SOURCE,
    "squares": SQUARES, "format": FORMAT, "counts": COUNTS, "__init__": "",
}  # fmt: skip
POINTS = """\
[wsss.methods]
colours = toy.method
[wsss.refinements]
powers = toy.refinement
[wsss.sources]
squares = toy.source
[wsss.formats]
counts = toy.format
"""
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


@pytest.fixture
def outside(tmp_path):
    """The environment of a machine on which the package is installed."""
    place = tmp_path / "site"
    (place / "toy").mkdir(parents=True)
    for name, text in MODULES.items():
        (place / "toy" / f"{name}.py").write_text(text)
    info = place / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    path = os.pathsep.join([str(place), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run(words, outside, folder):
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=False)


def test_a_package_outside_runs_through_the_whole_pipeline(outside, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "config.yaml").write_text(yaml.safe_dump({"runs": {"toy": RUN}, "execution": {"shards": 1}}))
    snakemake = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--quiet", "all"]
    done = run([*snakemake, "--", "results/toy/miou.csv", "results/toy/report.html"], outside, work)
    assert done.returncode == 0, done.stderr[-3000:]
    table = pd.read_csv(work / "results/toy/miou.csv")
    assert {"cam", "refined", "pseudo_label", "segmentation"} <= set(table["stage"])
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
