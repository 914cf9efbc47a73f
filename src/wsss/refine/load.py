"""Affinity networks from settings and from model files."""

from __future__ import annotations

from pathlib import Path

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import load_strictly
from wsss.config import run as schema
from wsss.refine.affinitynet.network import AffinityNet
from wsss.refine.irnet.network import IRNet
from wsss.store.models import read_model


def build_affinity(settings: schema.AffinityNet | schema.IRNet, backbone: Backbone) -> AffinityNet | IRNet:
    """The affinity network of a settings section on a backbone."""
    if settings.method == "irnet":
        return IRNet(backbone, settings.stride, settings.training.augment.crop)
    return AffinityNet(backbone, settings.stride, settings.radius, settings.channels)


def load_affinity(path: Path) -> AffinityNet | IRNet:
    """A trained affinity network, in eval mode."""
    tensors, settings, _ = read_model(path, "affinity")
    kind = schema.IRNet if settings["affinity"]["method"] == "irnet" else schema.AffinityNet
    section = kind.model_validate({k: v for k, v in settings["affinity"].items() if k in kind.model_fields})
    backbone = build_backbone(schema.Backbone.model_validate(settings["backbone"]), weights=False)
    model = build_affinity(section, backbone)
    load_strictly(model, tensors, what=str(path))
    return model.eval()
