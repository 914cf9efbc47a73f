"""Weight standardisation as in the version of timm with which ACR's hybrid checkpoints were trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import StdConv2dSame, pad_same
from torch import Tensor, nn


class SigmaStdConv2d(nn.Conv2d):
    """Convolution with weights (w − mean)/(σ + eps) per output channel (Qiao 2019), TensorFlow-"SAME" padding.

    Current timm divides by √(σ² + 1e-8) instead; with eps = 1e-5 filters of small σ differ.
    """

    def __init__(self, conv: nn.Conv2d, eps: float) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            dilation=conv.dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
            device=conv.weight.device,
            dtype=conv.weight.dtype,
        )
        self.load_state_dict(conv.state_dict())
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        sigma, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / (sigma + self.eps)
        x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, weight, self.bias, self.stride, 0, self.dilation, self.groups)


def use_sigma_std_conv(module: nn.Module, eps: float) -> int:
    """Replaces every weight-standardised convolution inside `module`; returns their number."""
    count = 0
    for name, child in module.named_children():
        if isinstance(child, StdConv2dSame):
            setattr(module, name, SigmaStdConv2d(child, eps))
            count += 1
        else:
            count += use_sigma_std_conv(child, eps)
    return count
