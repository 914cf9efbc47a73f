"""Affinity from attention, its transition matrix, and the scores that walk (AFA; Ru et al. 2022, §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AffinityHead(nn.Conv2d):
    """Affinity P of all pairs of cells from the attention logits of several blocks."""

    def __init__(self, heads: int) -> None:
        """heads: number of attention heads of all these blocks together."""
        super().__init__(heads, 1, kernel_size=1)
        nn.init.kaiming_normal_(self.weight, a=5**0.5, mode="fan_out")

    def forward(self, logits: Sequence[Tensor]) -> Tensor:
        """Symmetric probabilities (B, N, N) of blocks' logits q·kᵀ (B, heads_i, N, N)."""
        # The published order, symmetrising before projecting, gives the same result at twice the memory.
        projected = F.conv2d(torch.cat(list(logits), dim=1), self.weight).squeeze(1)
        return (projected + projected.transpose(1, 2) + self.bias).sigmoid()


def column_transition(affinity: Tensor, mask: Tensor | None = None, power: int = 2, epsilon: float = 0.1) -> Tensor:
    """T = P^power / (column sums + epsilon) of affinities (B, N, N) in `mask` (N, N); element-wise power."""
    affinity = affinity.float() if mask is None else affinity.float().masked_fill(~mask, 0)
    affinity = affinity.pow(power)
    return affinity / (affinity.sum(dim=1, keepdim=True) + epsilon)


def present_softmax(maps: Tensor, labels: Tensor, background: float) -> Tensor:
    """Softmax over [background, present classes] at every pixel: (B, C, h, w), zero for absent classes.

    maps: (B, K, h, w) in [0, 1]. labels: (B, K), 1 for present classes.
    """
    scores = F.pad(maps, (0, 0, 0, 0, 1, 0), value=background)
    absent = F.pad(labels, (1, 0), value=1) == 0
    return scores.masked_fill(absent[:, :, None, None], -torch.inf).softmax(dim=1)
