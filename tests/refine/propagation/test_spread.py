"""Propagation as the stages run it."""

from __future__ import annotations

import numpy as np
import torch

from wsss.config.sections import Backbone
from wsss.config.stages import TrainClassifier
from wsss.methods.load import build_method
from wsss.plan.run import plan_runs
from wsss.refine.base import Models
from wsss.refine.propagation.settings import Settings
from wsss.store.models import save_model


def refinement(tmp_path, **changes):
    torch.manual_seed(0)
    section = TrainClassifier(backbone=Backbone(name="test_resnet", output_stride=8, pretrained=False))
    names = ["background", "cat", "dog"]
    model = build_method(section, names)
    save_model(model, tmp_path / "m", "classifier", section.model_dump(mode="json"), names)
    settings = Settings(method="propagation", **changes)
    return settings.load()(settings, Models(tmp_path / "m"), torch.device("cpu"))


@torch.inference_mode()
def test_maps_of_any_size_come_back_with_a_background(tmp_path):
    refine = refinement(tmp_path, stages=[-2, -1])
    images = np.random.default_rng(0).integers(0, 255, (2, 70, 51, 3)).astype(np.uint8)
    maps = [torch.rand(2, 70, 51), torch.zeros(0, 70, 51)]
    some, none = refine(images, maps)
    assert some.shape == (3, 70, 51) and 0 <= some.min() <= some.max() <= 1
    assert none.shape == (1, 70, 51) and (none == 1).all()


@torch.inference_mode()
def test_nothing_spreads_without_neighbours(tmp_path):
    refine = refinement(tmp_path, alpha=0.0)
    images = np.random.default_rng(1).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)
    half = torch.zeros(1, 64, 64)
    half[:, :, :32] = 1
    (found,) = refine(images, [half])
    assert (found[1, :, :24] > 0.99).all() and (found[1, :, 40:] < 0.01).all()


def test_a_run_with_propagation_trains_no_affinity_network():
    plan = plan_runs({"runs": {"r": {"preset": ["shapes", "propagation"]}}})["r"]
    stages = {step.stage for step in plan.steps}
    assert "refine_cam" in stages and not stages & {"train_affinity", "make_affinity_labels"}
