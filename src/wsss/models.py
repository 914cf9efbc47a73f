"""Building networks from settings, and model files that say how they are built.

A model file is safetensors; its metadata holds the settings and class names, so that it loads alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm.models
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from wsss import schema
from wsss.backbones.base import Backbone
from wsss.backbones.checkpoints import load_published, load_strictly, read_state_dict, require_finite, unwrap
from wsss.backbones.layouts import detect_layout
from wsss.methods import get_method
from wsss.methods.base import Method
from wsss.refine.affinity import AffinityNet
from wsss.refine.irnet import IRNet
from wsss.runtime import write_atomically
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
        # timm reads files under its own names, ViTs of another size included; the rest is published elsewhere.
        own = False
        if checkpoint is not None:
            state = unwrap(read_state_dict(checkpoint))
            require_finite(state, str(checkpoint))
            own = detect_layout(state) in ((), "vit")
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
_VIT_OPTIONS = ("position_interpolation", "sigma_eps", "mean", "std")


def _resnet38(settings: schema.Backbone) -> Backbone:
    from wsss.backbones.resnet38 import ResNet38

    if settings.options:
        raise ValueError(f"resnet38 takes no options; given are {sorted(settings.options)}")
    return ResNet38()


def _mit(settings: schema.Backbone) -> Backbone:
    from wsss.backbones.mit import MiT

    own = {name: settings.options[name] for name in ("strides", "drop_path_rate") if name in settings.options}
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


def model_classes(path: Path) -> list[str]:
    """The class names in a model file, background first.

    Raises:
        ValueError: not a wsss model.
    """
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["classes"])
    except Exception as error:
        raise ValueError(f"{path}: not a wsss model ({error})") from error


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
    try:
        with safe_open(path, "pt") as file:
            kind = (file.metadata() or {}).get("kind")
    except Exception as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
    if kind != "classifier":
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
