"""Building networks from settings, and model files that say how they are built.

A model file is safetensors; its metadata holds the settings and class names, so that it loads alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from wsss import schema
from wsss.backbones.base import Backbone
from wsss.methods import get_method
from wsss.methods.base import Method
from wsss.refine.affinity import AffinityNet
from wsss.runtime import write_atomically
from wsss.segment.network import SegmentationNet


def build_backbone(settings: schema.Backbone, *, weights: bool = True) -> Backbone:
    """The backbone of a settings section; `weights=False` leaves it random (a checkpoint follows).

    Raises:
        ValueError: unknown network, or weights that cannot be had or do not fit.
    """
    if settings.name == "resnet38":
        from wsss.backbones.resnet38 import ResNet38

        return ResNet38()
    from wsss.backbones.timm import TimmBackbone

    return TimmBackbone(
        settings.name,
        output_stride=settings.output_stride,
        pretrained=weights and settings.pretrained and settings.checkpoint_path is None,
        checkpoint_path=str(settings.checkpoint_path or "") if weights else "",
        options=settings.options,
    )


def build_method(settings: schema.TrainClassifier, num_classes: int, *, weights: bool = True) -> Method:
    """The classifier of a settings section, for K foreground classes."""
    options = settings.method.model_dump(exclude={"name"})
    backbone = build_backbone(settings.backbone, weights=weights)
    return get_method(settings.method.name)(backbone, num_classes, **options)


def freeze(model: nn.Module, backbone: Backbone, training: schema.Training) -> None:
    """Stops what the recipe does not train; frozen BatchNorm stays in eval mode through `model.train()`."""
    if training.freeze_stages is not None:
        backbone.freeze(training.freeze_stages)
    if training.freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.train = lambda mode=True, module=module: module


def save_model(model: nn.Module, path: Path, kind: str, settings: Mapping[str, Any], classes: list[str]) -> None:
    """Writes weights and how to build the network, whole or not at all.

    Args:
        kind: classifier, affinity or segmentation.
        settings: the stage's section as JSON types.
        classes: C names, background first.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "format": "wsss-model",
        "kind": kind,
        "settings": json.dumps(settings),
        "classes": json.dumps(classes, ensure_ascii=False),
    }
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_model(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[str]]:
    """Weights, settings and class names of a model file.

    Raises:
        ValueError: not a wsss model, or one of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != "wsss-model" or metadata.get("kind") != kind:
        found = metadata.get("kind", "no wsss model")
        raise ValueError(f"{path}: expected a wsss model of kind '{kind}', found {found}")
    return tensors, json.loads(metadata["settings"]), json.loads(metadata["classes"])


def load_affinity(path: Path) -> AffinityNet:
    """A trained affinity network, in eval mode."""
    tensors, settings, _ = read_model(path, "affinity")
    section = schema.TrainAffinity.model_validate(
        {k: v for k, v in settings["affinity"].items() if k in schema.TrainAffinity.model_fields}
    )
    backbone = build_backbone(schema.Backbone.model_validate(settings["backbone"]), weights=False)
    model = AffinityNet(backbone, section.stride, section.radius, section.channels)
    model.load_state_dict(tensors)
    return model.eval()


def load_segmentation(path: Path) -> SegmentationNet:
    """A trained segmentation network, in eval mode."""
    tensors, settings, classes = read_model(path, "segmentation")
    section = schema.TrainSegmentation.model_validate(settings)
    model = build_segmentation(section, len(classes))
    model.load_state_dict(tensors)
    return model.eval()


def build_segmentation(
    settings: schema.TrainSegmentation, num_classes: int, backbone: Backbone | None = None
) -> SegmentationNet:
    """The segmentation network of a settings section; its encoder copies the weights of `backbone`, if given."""
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


def load_classifier(path: Path) -> Method:
    """A trained classifier, in eval mode."""
    tensors, settings, classes = read_model(path, "classifier")
    section = schema.TrainClassifier.model_validate(settings)
    model = build_method(section, len(classes) - 1, weights=False)
    model.load_state_dict(tensors)
    return model.eval()
