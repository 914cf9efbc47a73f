"""The LargeFOV decoder: dilated convolutions on one feature map (Chen 2015; ToCo, Ru 2023, §3.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LargeFOV(nn.Module):
    """3×3 dilated → ReLU → 3×3 dilated → ReLU → 1×1 to class logits, no biases; the grid is kept.

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
