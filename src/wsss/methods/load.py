"""Building and loading of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import load_published
from wsss.backbones.rebuilt import rebuilt
from wsss.config.loading import checked_section
from wsss.config.stages import TrainClassifier
from wsss.methods.base import Method
from wsss.store.models import read_model


def build_method(settings: TrainClassifier, class_names: Sequence[str], *, weights: bool = True) -> Method:
    """The classifier of a settings section. class_names: C names, background first. weights: load pretrained weights.

    Raises:
        ValueError: the method does not fit the backbone, or the checkpoint fits neither.
    """
    backbone = build_backbone(settings.backbone, weights=weights and settings.checkpoint is None)
    model = settings.method.load()(backbone, class_names, settings.method)
    if weights and settings.checkpoint is not None:
        load_published(model, settings.checkpoint.path)
    return model


def load_classifier(path: Path) -> Method:
    """A trained classifier, in eval mode."""
    tensors, settings, classes = read_model(path, "classifier")
    section = checked_section(TrainClassifier, settings, f"{path}:")
    return rebuilt(lambda: build_method(section, classes, weights=False), tensors, path).eval()
