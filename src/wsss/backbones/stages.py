"""Outputs of a backbone by name: stages; `final`, the input of its own classifier; `keys`, of the last attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsss.backbones.base import Backbone

FINAL, KEYS = "final", "keys"


def wanted_stages(backbone: Backbone, images: Tensor, stages: Sequence[int | str]) -> list[Tensor]:
    """Outputs (B, D, h, w) of normalised images (B, 3, H, W): of stages by number, of `final` and `keys`."""
    images = images.contiguous(memory_format=torch.channels_last)
    named: dict[str, Tensor] = {}
    if KEYS in stages:
        named[FINAL], pyramid, named[KEYS] = backbone.features_pyramid_keys(images)
    else:
        named[FINAL], pyramid = backbone.features_and_pyramid(images)
    return [named[stage] if isinstance(stage, str) else pyramid[stage] for stage in stages]


def stage_channels(backbone: Backbone, stage: int | str) -> int:
    """Channels of an output.

    Raises:
        ValueError: the network has no such output.
    """
    channels = backbone.pyramid_channels
    if stage == KEYS and not backbone.has_keys:
        raise ValueError("stage keys does not exist; only transformers of equal blocks have attention keys")
    if isinstance(stage, str):
        return backbone.channels
    if not -len(channels) <= stage < len(channels):
        raise ValueError(f"stage {stage} does not exist; this network has {len(channels)}, counted from 0, and final")
    return channels[stage]
