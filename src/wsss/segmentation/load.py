"""Segmentation networks from settings and from model files."""

from __future__ import annotations

from pathlib import Path

from wsss.backbones.base import Backbone
from wsss.backbones.checkpoints import load_strictly
from wsss.config.stages import TrainSegmentation
from wsss.segmentation.network import SegmentationNet
from wsss.store.models import read_model


def load_segmentation(path: Path | str) -> SegmentationNet:
    """A trained segmentation network, in eval mode; `predict` takes a photograph, `class_names` explains its ids."""
    tensors, settings, classes = read_model(Path(path), "segmentation")
    section = TrainSegmentation.model_validate(settings)
    model = build_segmentation(section, len(classes))
    load_strictly(model, tensors, what=str(path))
    model.class_names = classes
    return model.eval()


def build_segmentation(
    settings: TrainSegmentation, num_classes: int, backbone: Backbone | None = None
) -> SegmentationNet:
    """The segmentation network of a settings section; its encoder copies `backbone`, and what is frozen of it."""
    source = settings.backbone
    model = SegmentationNet(
        settings.architecture,
        source.name,
        num_classes,
        output_stride=source.output_stride,
        encoder_options=source.options,
        options=settings.options,
    )
    if backbone is not None:
        model.load_encoder(backbone)
    return model
