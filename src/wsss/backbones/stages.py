"""Outputs of a backbone by name: its stages, and `final`, the input of its own classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsss.backbones.base import Backbone


def wanted_stages(backbone: Backbone, images: Tensor, stages: Sequence[int | str]) -> list[Tensor]:
    """Stage outputs (B, D, h, w) of normalised images (B, 3, H, W); `final`: input of the network's classifier."""
    final, pyramid = backbone.features_and_pyramid(images.contiguous(memory_format=torch.channels_last))
    return [final if stage == "final" else pyramid[stage] for stage in stages]


def stage_channels(backbone: Backbone, stage: int | str) -> int:
    """Channels of a stage's output.

    Raises:
        ValueError: the network has no such stage.
    """
    channels = backbone.pyramid_channels
    if stage != "final" and not -len(channels) <= stage < len(channels):
        raise ValueError(f"stage {stage} does not exist; this network has {len(channels)}, counted from 0, and final")
    return backbone.channels if stage == "final" else channels[stage]
