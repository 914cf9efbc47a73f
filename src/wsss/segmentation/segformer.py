"""SegFormer's all-MLP decoder (Xie et al. 2021, §3.2), as AFA uses it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss.runtime.tensors import resize


class SegFormerDecoder(nn.Module):
    """Four stage outputs → linear to `width`, resized to the finest, fused by a 1×1 convolution → logits.

    Args:
        channels: of the four stages, shallow to deep.
        num_classes: C, background included.
        width: common embedding width.
        dropout: of whole channels, before the last convolution.

    Parameter names are the published ones: `linear_c1` … `linear_c4`, `linear_fuse`, `linear_pred`.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        if len(channels) != 4:
            raise ValueError(f"the SegFormer decoder takes four stages; got channels {list(channels)}")
        self.linear_c4 = _Linear(channels[3], width)
        self.linear_c3 = _Linear(channels[2], width)
        self.linear_c2 = _Linear(channels[1], width)
        self.linear_c1 = _Linear(channels[0], width)
        self.linear_fuse = _ConvNormReLU(4 * width, width)
        self.dropout = nn.Dropout2d(dropout)
        self.linear_pred = nn.Conv2d(width, num_classes, 1)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Logits (B, C, h, w) on the grid of the first of the four stage outputs (B, D_i, h_i, w_i)."""
        size = tuple(pyramid[0].shape[-2:])
        linears = (self.linear_c1, self.linear_c2, self.linear_c3, self.linear_c4)
        levels = [
            resize(linear(stage), size, align_corners=False) for linear, stage in zip(linears, pyramid, strict=True)
        ]
        fused = self.linear_fuse(torch.cat(levels[::-1], dim=1))  # deepest first: the published order
        return self.linear_pred(self.dropout(fused))


class _Linear(nn.Module):
    """A linear map of the channels, (B, D, h, w) → (B, width, h, w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, width)

    def forward(self, stage: Tensor) -> Tensor:
        return self.proj(stage.movedim(1, -1)).movedim(-1, 1)


class _ConvNormReLU(nn.Module):
    """1×1 convolution, BatchNorm, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))
