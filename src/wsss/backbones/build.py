"""Building of a backbone from its settings, and freezing of its parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from wsss.backbones.base import Backbone
from wsss.backbones.checkpoints import (
    is_whole_method,
    load_published,
    load_strictly,
    read_state_dict,
    strip_prefix,
    unwrap,
)
from wsss.backbones.layouts import detect_layout
from wsss.backbones.packages import MEAN, STD, package_file
from wsss.backbones.rebuilt import rebuilt
from wsss.config import sections
from wsss.config.loading import checked_section
from wsss.runtime.records import require_keys
from wsss.runtime.tensors import require_finite
from wsss.store.models import read_model


def build_backbone(settings: sections.Backbone, *, weights: bool = True) -> Backbone:
    """The backbone of a settings section. weights: load pretrained weights; False if a checkpoint is loaded later.

    Raises:
        ValueError: unknown network, or weights that cannot be obtained or do not fit.
    """
    kind = backbone_kind(settings.name)
    if kind != "timm" and settings.output_stride is not None:
        raise ValueError(f"output_stride {settings.output_stride} given; '{settings.name}' keeps its own (null)")
    checkpoint = settings.checkpoint.path if weights and settings.checkpoint else None
    if kind == "resnet38":
        backbone = _resnet38(settings)
    elif kind == "mit":
        backbone = _mit(settings)
    else:
        # timm loads files with its own names; others are published elsewhere, or ours. A plain ViT is built without
        # the head of its ImageNet files, which timm would report as missing.
        own = False
        if checkpoint is not None:
            state = strip_prefix(unwrap(read_state_dict(checkpoint)))
            require_finite(state, str(checkpoint))
            own = kind not in ("vit", "clip") and detect_layout(state) in ((), "vit") and not is_whole_method(state)
        path, checkpoint = (str(checkpoint), None) if own else ("", checkpoint)
        pretrained = weights and settings.pretrained and settings.checkpoint is None and settings.weights is None
        with _named(settings):
            backbone = _from_timm(settings, kind, pretrained=pretrained, checkpoint_path=path)
    if settings.weights == "package":
        _from_package(backbone, settings.name, weights=weights)
    if checkpoint is not None:
        layout = "clip-timm" if kind == "clip" and detect_layout(read_state_dict(checkpoint)) == "vit" else None
        load_published(backbone, checkpoint, layout)
    return backbone


def backbone_kind(name: str) -> str:
    """The kind of a network by its name: resnet38, mit, irn, timm's plain vit, clip or eva, or any other of timm."""
    import timm.models

    if name == "resnet38":
        return "resnet38"
    if name.startswith(("mit_b", "irn_")):
        return name[:3]
    plain, _, tag = name.partition(".")
    if "_dinov3" in plain:
        return "eva"
    if not timm.models.is_model_in_modules(plain, _VIT_MODULES):
        return "timm"
    return "clip" if "_clip_" in plain and "_ft_" not in tag else "vit"  # fine-tuned ones have lost the projection


_VIT_MODULES = ("vision_transformer", "vision_transformer_hybrid", "deit")
_VIT_OPTIONS = ("incomplete_patches", "position_interpolation", "sigma_eps", "mean", "std", "stem")
_TRANSFORMER_OPTIONS = {"vit": _VIT_OPTIONS, "clip": (*_VIT_OPTIONS, "projection"), "eva": ("mean", "std")}


def _resnet38(settings: sections.Backbone) -> Backbone:
    from wsss.backbones.resnet38 import ResNet38

    if unknown := sorted(settings.options.keys() - {"batch_norm_momentum"}):
        raise ValueError(f"resnet38 takes the option batch_norm_momentum; given are {unknown}")
    return ResNet38(**settings.options)


def _mit(settings: sections.Backbone) -> Backbone:
    from wsss.backbones.mit import MiT

    own = {name: settings.options[name] for name in ("strides", "drop_path_rate", "stem") if name in settings.options}
    return MiT(settings.name, **own, options={k: v for k, v in settings.options.items() if k not in own})


@contextmanager
def _named(settings: sections.Backbone) -> Iterator[None]:
    """Context that converts the errors by which networks refuse options into a ValueError of one line."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:  # options may lead a library's constructor anywhere
        given = dict(settings.options) | ({"output_stride": settings.output_stride} if settings.output_stride else {})
        reason = textwrap.shorten(f"{type(error).__name__} {error}", 300, placeholder=" …")
        hint = "; it may keep its own stride: output_stride: null" if settings.output_stride else ""
        raise ValueError(f"timm cannot build backbone '{settings.name}' with {given!r:.300}: {reason}{hint}") from error


def _from_timm(settings: sections.Backbone, kind: str, **weights: Any) -> Backbone:
    from wsss.backbones.clip import CLIPBackbone
    from wsss.backbones.eva import EvaBackbone
    from wsss.backbones.irn_resnet import IRNResNet
    from wsss.backbones.timm import TimmBackbone
    from wsss.backbones.vit import ViTBackbone

    if kind == "irn":
        if settings.options:
            raise ValueError(f"{settings.name} takes no options; given are {sorted(settings.options)}")
        return IRNResNet(settings.name.removeprefix("irn_"), **weights)
    if kind in _TRANSFORMER_OPTIONS:
        network = {"vit": ViTBackbone, "clip": CLIPBackbone, "eva": EvaBackbone}[kind]
        own = {name: settings.options[name] for name in _TRANSFORMER_OPTIONS[kind] if name in settings.options}
        options = {name: value for name, value in settings.options.items() if name not in own}
        return network(settings.name, **own, options=options, **weights)
    return TimmBackbone(settings.name, output_stride=settings.output_stride, options=settings.options, **weights)


def _from_package(backbone: Backbone, name: str, *, weights: bool) -> None:
    """Loads weights and normalisation from an installed package; with weights=False the normalisation alone.

    The package has the same tensors in the same order, followed by a classifier.
    """
    if weights:
        path = package_file(name)
        published = [tensor for key, tensor in read_state_dict(path).items() if not key.endswith("num_batches_tracked")]
        own = [key for key in backbone.net.state_dict() if not key.endswith("num_batches_tracked")]
        load_strictly(backbone.net, dict(zip(own, published[: len(own)], strict=True)), what=str(path))
    backbone.mean, backbone.std = MEAN, STD


def freeze(backbone: Backbone, training: sections.Training) -> None:
    """Freezes the parts of the pretrained network that the recipe does not train."""
    if training.freeze_stages is not None:
        backbone.freeze(training.freeze_stages)
    if training.freeze_batch_norm:
        freeze_batch_norm(backbone)


def freeze_batch_norm(network: nn.Module) -> None:
    """Keeps the running statistics of BatchNorm: it stays in eval mode when its parent is set to training mode."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module


def classifier_backbone(classifier: Path) -> tuple[Backbone, dict[str, Any]]:
    """The trained backbone of a classifier's file, and the settings that build it."""
    tensors, section, _ = read_model(classifier, "classifier")
    given = require_keys(classifier, section, backbone=dict)["backbone"]
    settings = checked_section(sections.Backbone, given, f"{classifier}:")
    prefix = "backbone."
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return rebuilt(lambda: build_backbone(settings, weights=False), own, classifier), given
