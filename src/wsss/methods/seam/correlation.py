"""SEAM's pixel correlation module (Wang 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from wsss.runtime.tensors import EPS, resize

_ROWS = 256


class PixelCorrelation(nn.Module):
    """Revises class maps by the similarity of pixels in image, shallow and deep features.

    The features are detached: no gradient reaches the backbone.

    Args:
        channels: of the shallow and of the deep feature map.
        reduced: channels after their 1×1 convolutions ("f8_3", "f8_4").
        embedding: channels of the embedding in which pixels are compared ("f9").
    """

    def __init__(self, channels: Sequence[int], reduced: tuple[int, int] = (64, 128), embedding: int = 192) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(channels[0], reduced[0], 1, bias=False)
        self.deep = nn.Conv2d(channels[1], reduced[1], 1, bias=False)
        self.embed = nn.Conv2d(3 + sum(reduced), embedding, 1, bias=False)
        nn.init.kaiming_normal_(self.shallow.weight)
        nn.init.kaiming_normal_(self.deep.weight)
        nn.init.xavier_uniform_(self.embed.weight, gain=4)

    def forward(self, seed: Tensor, images: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """A_rv (B, C, h, w) from the normalised seed (B, C, h, w), images (B, 3, H, W) and the two taps."""
        features = self.features(images, taps, tuple(seed.shape[-2:]))
        return pixel_correlation(seed, features, self.embed.weight)

    def features(self, images: Tensor, taps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The compared features: image and reduced taps on the grid `size`, (B, 3 + 64 + 128, h, w)."""
        image, shallow, deep = (resize(part.detach(), size, align_corners=True) for part in (images, *taps))
        return torch.cat([image, self.shallow(shallow).relu(), self.deep(deep).relu()], dim=1)

    def affinity_map(
        self, images: Tensor, taps: Sequence[Tensor], size: tuple[int, int], row: int, column: int
    ) -> Tensor:
        """The column of the affinity matrix of one cell, (B, h, w); sums to 1."""
        unit = _unit(self.features(images, taps, size), self.embed.weight).unflatten(2, size)
        affinity = (unit * unit[:, :, row, column, None, None]).sum(1).relu()
        return affinity / (affinity.sum((1, 2), keepdim=True) + EPS)


def pixel_correlation(seed: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """A_rv = R·aff, aff = ReLU(cosine similarity) with columns that sum to 1 (eq. 4 … 6).

    Args:
        seed: R (B, C, h', w'), resized to the features' grid (`align_corners=True`); receives no gradient.
        features: (B, D, h, w).
        weight: (E, D, 1, 1), the 1×1 convolution to the compared embedding.
    """
    size = tuple(features.shape[-2:])
    seed = resize(seed.detach().float(), size, align_corners=True).flatten(2)
    unit = _unit(features, weight)
    with torch.autocast(unit.device.type, enabled=False):
        return _Propagate.apply(seed, unit).unflatten(2, size)


def _unit(features: Tensor, weight: Tensor) -> Tensor:
    """Embedded features of length 1, (B, E, h·w), float32."""
    embedded = F.conv2d(features, weight).float().flatten(2)
    return embedded / (embedded.norm(dim=1, keepdim=True) + EPS)


class _Propagate(torch.autograd.Function):
    """R·aff with a single (N, N) matrix; autograd would keep two and allocate two more in the backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, seed: Tensor, unit: Tensor) -> Tensor:
        affinity = (unit.mT @ unit).relu_()  # (B, N, N), symmetric
        total = affinity.sum(1, keepdim=True) + EPS  # (B, 1, N)
        revised = seed @ affinity / total  # (B, C, N)
        ctx.save_for_backward(seed, unit, affinity, total, revised)
        return revised

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[None, Tensor]:
        """d aff[q, p] = Σ_c grad[c, p]·(R[c, q] − A_rv[c, p]) / total[p], a few rows q at a time."""
        seed, unit, affinity, total, revised = ctx.saved_tensors
        grad = grad / total
        offset = (grad * revised).sum(1, keepdim=True)
        grad_unit = torch.zeros_like(unit)
        for start in range(0, unit.shape[2], _ROWS):
            rows = slice(start, start + _ROWS)
            d_affinity = seed[:, :, rows].mT @ grad - offset  # (B, rows, N)
            d_affinity *= affinity[:, rows] > 0
            grad_unit[:, :, rows] += unit @ d_affinity.mT
            grad_unit += unit[:, :, rows] @ d_affinity
        return None, grad_unit
