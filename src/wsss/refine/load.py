"""Loading of affinity networks."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from wsss.backbones.build import build_backbone
from wsss.backbones.rebuilt import rebuilt
from wsss.config.loading import checked_section
from wsss.config.sections import Backbone
from wsss.config.stages import TrainAffinity
from wsss.runtime.records import require_keys
from wsss.store.models import read_model


def load_affinity(path: Path) -> nn.Module:
    """A trained affinity network, in eval mode."""
    tensors, settings, _ = read_model(path, "affinity")
    given = require_keys(path, settings, affinity=dict, backbone=dict)
    section = checked_section(TrainAffinity, given["affinity"], f"{path}:")
    backbone = checked_section(Backbone, given["backbone"], f"{path}:")
    model = rebuilt(lambda: section.load()(section).build(build_backbone(backbone, weights=False)), tensors, path)
    return model.eval()
