"""Building networks from settings, and loading them from model files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm.models
import torch
from torch import nn

from wsss import schema
from wsss.backbones.base import Backbone
from wsss.backbones.checkpoints import (
    is_whole_method,
    load_published,
    load_strictly,
    read_state_dict,
    require_finite,
    unwrap,
)
from wsss.backbones.layouts import detect_layout
from wsss.methods import get_method
from wsss.methods.base import Method
from wsss.model_file import read_about, read_model
from wsss.refine.affinity import AffinityNet
from wsss.refine.irnet import IRNet
from wsss.segment.network import SegmentationNet


def build_backbone(settings: schema.Backbone, *, weights: bool = True) -> Backbone:
    """The backbone of a settings section; `weights=False` leaves it random (a checkpoint follows).

    Raises:
        ValueError: unknown network, or weights that cannot be had or do not fit.
    """
    kind = backbone_kind(settings.name)
    if kind != "timm" and settings.output_stride is not None:
        raise ValueError(f"output_stride {settings.output_stride} given; '{settings.name}' keeps its own (null)")
    checkpoint = settings.checkpoint if weights else None
    if kind == "resnet38":
        backbone = _resnet38(settings)
    elif kind == "mit":
        backbone = _mit(settings)
    else:
        # timm reads files under its own names, ViTs of another size included; the rest is published elsewhere, or ours.
        own = False
        if checkpoint is not None:
            state = unwrap(read_state_dict(checkpoint))
            require_finite(state, str(checkpoint))
            own = detect_layout(state) in ((), "vit") and not is_whole_method(state)
        path, checkpoint = (str(checkpoint), None) if own else ("", checkpoint)
        pretrained = weights and settings.pretrained and settings.checkpoint is None
        backbone = _from_timm(settings, kind, pretrained=pretrained, checkpoint_path=path)
    if checkpoint is not None:
        load_published(backbone, checkpoint)
    return backbone


def backbone_kind(name: str) -> str:
    """Whose network a name is: `resnet38`, `mit`, `irn`, timm's plain `vit`, or any other of `timm`."""
    if name == "resnet38":
        return "resnet38"
    if name.startswith(("mit_b", "irn_")):
        return name[:3]
    return "vit" if timm.models.is_model_in_modules(name.split(".")[0], _VIT_MODULES) else "timm"


_VIT_MODULES = ("vision_transformer", "vision_transformer_hybrid", "deit")
_VIT_OPTIONS = ("position_interpolation", "sigma_eps", "mean", "std", "stem")


def _resnet38(settings: schema.Backbone) -> Backbone:
    from wsss.backbones.resnet38 import ResNet38

    if settings.options:
        raise ValueError(f"resnet38 takes no options; given are {sorted(settings.options)}")
    return ResNet38()


def _mit(settings: schema.Backbone) -> Backbone:
    from wsss.backbones.mit import MiT

    own = {name: settings.options[name] for name in ("strides", "drop_path_rate", "stem") if name in settings.options}
    return MiT(settings.name, **own, options={k: v for k, v in settings.options.items() if k not in own})


def _from_timm(settings: schema.Backbone, kind: str, **weights: Any) -> Backbone:
    from wsss.backbones.irn_resnet import IRNResNet
    from wsss.backbones.timm import TimmBackbone
    from wsss.backbones.vit import ViTBackbone

    if kind == "irn":
        if settings.options:
            raise ValueError(f"{settings.name} takes no options; given are {sorted(settings.options)}")
        return IRNResNet(settings.name.removeprefix("irn_"), **weights)
    if kind == "vit":
        own = {name: settings.options[name] for name in _VIT_OPTIONS if name in settings.options}
        options = {name: value for name, value in settings.options.items() if name not in own}
        return ViTBackbone(settings.name, **own, options=options, **weights)
    return TimmBackbone(settings.name, output_stride=settings.output_stride, options=settings.options, **weights)


def build_method(settings: schema.TrainClassifier, num_classes: int, *, weights: bool = True) -> Method:
    """The classifier of a settings section, for K foreground classes.

    Raises:
        ValueError: the method does not fit the backbone, or the checkpoint neither.
    """
    options = settings.method.model_dump(exclude={"name"})
    backbone = build_backbone(settings.backbone, weights=weights and settings.checkpoint is None)
    model = get_method(settings.method.name)(backbone, num_classes, **options)
    if weights and settings.checkpoint is not None:
        load_published(model, settings.checkpoint)
    return model


def freeze(backbone: Backbone, training: schema.Training) -> None:
    """Stops what the recipe does not train of the pretrained network."""
    if training.freeze_stages is not None:
        backbone.freeze(training.freeze_stages)
    if training.freeze_batch_norm:
        freeze_batch_norm(backbone)


def freeze_batch_norm(network: nn.Module) -> None:
    """BatchNorm keeps its running statistics: it stays in eval mode through `train()` of whatever holds it."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module


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


def load_segmentation(path: Path | str) -> SegmentationNet:
    """A trained segmentation network, in eval mode; `predict` takes a photograph, `class_names` explains its ids."""
    tensors, settings, classes = read_model(Path(path), "segmentation")
    section = schema.TrainSegmentation.model_validate(settings)
    model = build_segmentation(section, len(classes))
    load_strictly(model, tensors, what=str(path))
    model.class_names = classes
    return model.eval()


def build_segmentation(
    settings: schema.TrainSegmentation, num_classes: int, backbone: Backbone | None = None
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


class EndToEnd(nn.Module):
    """A single-stage method as a segmentation network: normalised images (B, 3, H, W) → logits (B, C, h, w)."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method, self.mean, self.std = method, method.backbone.mean, method.backbone.std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.method.segment_logits(images)


def load_segmenter(path: Path) -> SegmentationNet | EndToEnd:
    """What a model file decodes masks with: a segmentation network, or a single-stage method.

    Raises:
        ValueError: a classifier that decodes none.
    """
    if read_about(path)["kind"] != "classifier":
        return load_segmentation(path)
    method = load_classifier(path)
    if not hasattr(method, "segment_logits"):
        raise ValueError(f"{path}: {type(method).__name__} decodes no masks; accepted are afa and toco")
    return EndToEnd(method)


def load_classifier(path: Path) -> Method:
    """A trained classifier, in eval mode."""
    tensors, settings, classes = read_model(path, "classifier")
    section = schema.TrainClassifier.model_validate(settings)
    model = build_method(section, len(classes) - 1, weights=False)
    load_strictly(model, tensors, what=str(path))
    return model.eval()
