"""Decoders on one dilated feature map: DeepLab's first two (Chen et al. 2015, 2018), the first in two variants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SEAMLargeFOV(nn.Sequential):
    """3×3 dilated, 1×1, each with BatchNorm and ReLU, dropout, 1×1: DeepLab v1 on ResNet-38, as SEAM retrained it.

    (B, channels, h, w) → logits (B, num_classes, h, w).

    Args:
        batch_norm_momentum: momentum of BatchNorm's statistics.
        train_norms: train BatchNorm's scales and shifts; False as in SEAM, where they are in no parameter group.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        width: int,
        dilation: int,
        dropout: float,
        batch_norm_momentum: float,
        train_norms: bool,
    ) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(width, momentum=batch_norm_momentum).requires_grad_(train_norms),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width, momentum=batch_norm_momentum).requires_grad_(train_norms),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(width, num_classes, 1),
        )


class ToCoLargeFOV(nn.Module):
    """DeepLab v1 as in ToCo (Ru 2023, §3.1): 3×3 dilated → ReLU → 3×3 dilated → ReLU → 1×1, no biases.

    Args:
        channels: D, of the features.
        num_classes: C, background included.
        width: of the two hidden maps.
        dilation: of the 3×3 convolutions, in cells.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 512, dilation: int = 5) -> None:
        super().__init__()
        dilated = {"kernel_size": 3, "padding": dilation, "dilation": dilation, "bias": False}
        self.conv6 = nn.Conv2d(channels, width, **dilated)
        self.conv7 = nn.Conv2d(width, width, **dilated)
        self.conv8 = nn.Conv2d(width, num_classes, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C, h, w) of features (B, D, h, w)."""
        return self.conv8(F.relu(self.conv7(F.relu(self.conv6(features)))))


class ASPP2(nn.Module):
    """The sum of 3×3 convolutions of several dilations, each with class logits as output: DeepLab v2 (§3.2).

    (B, channels, h, w) → logits (B, num_classes, h, w).
    """

    def __init__(self, channels: int, num_classes: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([branch(features) for branch in self.branches]).sum(0)


DECODERS: dict[str, type[nn.Module]] = {"LargeFOV": SEAMLargeFOV, "DeepLabV2": ASPP2}
"""Name of an architecture → decoder; ToCo's is a part of its method."""
