"""Loading of affinity networks."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import load_strictly
from wsss.config.registry import REFINEMENTS
from wsss.config.sections import Backbone as BackboneSettings
from wsss.store.models import read_model


def load_affinity(path: Path) -> nn.Module:
    """A trained affinity network, in eval mode."""
    tensors, settings, _ = read_model(path, "affinity")
    section = REFINEMENTS[settings["affinity"]["method"]].Training.model_validate(settings["affinity"])
    backbone = build_backbone(BackboneSettings.model_validate(settings["backbone"]), weights=False)
    model = section.load()(section).build(backbone)
    load_strictly(model, tensors, what=str(path))
    return model.eval()
