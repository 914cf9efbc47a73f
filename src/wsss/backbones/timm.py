"""Any timm network as a backbone."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from wsss.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone, require_stages
from wsss.backbones.checkpoints import read_state_dict, strip_prefix, unwrap
from wsss.backbones.reach import unreachable
from wsss.config.messages import nearest
from wsss.runtime.progress import log


def create_network(name: str, arguments: dict[str, Any], *, pretrained: bool, checkpoint_path: str) -> nn.Module:
    """`timm.create_model`, with timm's errors as a ValueError of readable length."""
    require_inert(name, arguments)
    require_known(name)
    if checkpoint_path and "num_classes" not in arguments:
        arguments = _head_of(name, checkpoint_path) | arguments
    if pretrained:
        if problem := unreachable(name):
            raise ValueError(problem)
        log.info("weights of %s are timm's; licence: %s", name, licence_of(name))
    try:
        return timm.create_model(name, pretrained=pretrained, checkpoint_path=checkpoint_path, **arguments)
    except (RuntimeError, TypeError) as error:
        given = textwrap.shorten(str(arguments), 400, placeholder=" …")  # a stem among them is a whole network
        reason = textwrap.shorten(str(error), 400, placeholder=" …")
        file = f" from {checkpoint_path}" if checkpoint_path else ""
        raise ValueError(f"timm cannot build backbone '{name}' with {given}{file}: {reason}") from error


def licence_of(name: str) -> str:
    """The licence of timm's weights, as timm states it."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return (config.license if config else None) or "not stated by timm"


def _head_of(name: str, checkpoint: str) -> dict[str, int]:
    """`num_classes` for a checkpoint with another number of classes than timm's, or without head."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    heads = (config.classifier if config else None) or ()
    heads = (heads,) if isinstance(heads, str) else heads
    state = strip_prefix(unwrap(read_state_dict(checkpoint)))
    sizes = {len(state[f"{head}.weight"]) if f"{head}.weight" in state else 0 for head in heads}
    if len(sizes) != 1 or sizes == {config.num_classes}:
        return {}
    (size,) = sizes
    found = f"a head of {size} classes, which is not used" if size else "no head"
    log.warning("%s has %s; its backbone is taken", checkpoint, found)
    return {"num_classes": size}


def require_inert(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a name or options that make timm read files or use the network.

    Both may come from an untrusted model file.
    """
    if ":" in name or "/" in name:
        raise ValueError(f"backbone '{name}' is an address; accepted are names of timm's own networks")
    acting = sorted(o for o in options if o.startswith("pretrained") or o in ("checkpoint_path", "cache_dir"))
    if acting:
        raise ValueError(
            f"backbone '{name}' has the options {acting}, which read weights; set backbone.pretrained or .checkpoint"
        )


def require_known(name: str) -> None:
    """Raises ValueError for a name that timm does not know, with the nearest known one."""
    plain = name.partition(".")[0]
    if not timm.is_model(plain):
        raise ValueError(f"backbone '{name}' is not known to timm{nearest(plain, timm.list_models())}")


class TimmBackbone(Backbone):
    """`timm.create_model(name, …)` without classifier, with stage outputs on demand.

    Args:
        name: any timm model that offers `forward_intermediates`.
        output_stride: 8, 16 or 32 for CNNs that can be dilated; None keeps the network's own.
        pretrained: download timm's published weights.
        checkpoint_path: a local checkpoint of the same network, read by timm.
        options: extra keyword arguments for timm (`pad_type`, `img_size`, `drop_path_rate` …).

    Raises:
        ValueError: timm does not know the name or does not accept an argument.
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: int | None = None,
        pretrained: bool = False,
        checkpoint_path: str = "",
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        arguments = dict(options or {})
        if output_stride is not None:
            arguments["output_stride"] = output_stride
        self.net = create_network(name, arguments, pretrained=pretrained, checkpoint_path=checkpoint_path)
        self.net.reset_classifier(0, "")
        self.mean = tuple(self.net.pretrained_cfg.get("mean", IMAGENET_MEAN))
        self.std = tuple(self.net.pretrained_cfg.get("std", IMAGENET_STD))
        self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        """Measures channels and strides by a forward pass, as dilation makes timm's feature_info wrong."""
        training = self.training
        self.eval()
        size = max(self.net.pretrained_cfg.get("input_size", (3, 64, 64))[-1], 64)
        features, pyramid = self.features_and_pyramid(torch.zeros(1, 3, size, size))
        self.train(training)
        if features.ndim != 4 or features.shape[2] != features.shape[3]:  # tokens, or channels last
            given = f"features of shape {tuple(features.shape)}"
            raise ValueError(
                f"{type(self.net).__name__} gives {given}; accepted are networks with maps (B, D, h, w), and plain ViTs"
            )
        self.channels = features.shape[1]
        self.stride = round(size / features.shape[-1])
        self.pyramid_channels = [stage.shape[1] for stage in pyramid]
        self.pyramid_strides = [round(size / stage.shape[-1]) for stage in pyramid]

    def forward(self, images: Tensor) -> Tensor:
        return self.net.forward_features(images)

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.net.forward_intermediates(images, output_fmt="NCHW")

    def freeze(self, stages: int) -> None:
        """Freeze by timm's grouping of parameters, whose stages may count from 0 or from 1."""
        groups = self.net.group_matcher(coarse=True)
        found = {name: _group(groups, name) for name, _ in self.net.named_parameters()}
        numbers = sorted({n for n in found.values() if n is not None})
        require_stages(stages, len(numbers) - 1, type(self.net).__name__)
        for name, parameter in self.net.named_parameters():
            number = found[name]
            if number is not None and numbers.index(number) <= stages:
                parameter.requires_grad_(False)


_STEM = -1


def _group(groups: dict[str, Any], name: str) -> int | None:
    """The stage of a parameter in timm's numbering, or `_STEM`; None beyond the stages."""
    if re.match(groups["stem"], name):
        return _STEM
    patterns = groups.get("blocks", [])
    for pattern in [patterns] if isinstance(patterns, str) else [p for p, _ in patterns]:
        match = re.match(pattern, name)
        if match and match.groups() and match.group(1) is not None:
            return int(match.group(1))
    return None


def build_stem(arguments: dict[str, Any]) -> TimmBackbone:
    """The CNN before a transformer, from `{name: …, output_stride: …}`; ValueError for other arguments."""
    try:
        require_inert(arguments["name"], arguments)
        return TimmBackbone(**arguments)
    except (TypeError, KeyError) as error:
        accepted = "{name: …, output_stride: …, options: …}"
        raise ValueError(f"backbone.options.stem is {arguments!r}; accepted is {accepted}") from error
