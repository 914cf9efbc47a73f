"""Affinity from attention (AFA; Ru et al. 2022, §3.3): its head, labels, loss and propagation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss.localise.seeds import IGNORE
from wsss.runtime import distributed


class AffinityHead(nn.Conv2d):
    """Attention logits of some blocks → affinity P of all pairs of cells."""

    def __init__(self, heads: int) -> None:
        """`heads`: of all blocks together."""
        super().__init__(heads, 1, kernel_size=1)
        nn.init.kaiming_normal_(self.weight, a=5**0.5, mode="fan_out")

    def forward(self, logits: Sequence[Tensor]) -> Tensor:
        """Symmetric probabilities (B, N, N) of blocks' logits q·kᵀ (B, heads_i, N, N)."""
        # The published order, symmetrise and then project, gives the same at twice the memory.
        projected = F.conv2d(torch.cat(list(logits), dim=1), self.weight).squeeze(1)
        return (projected + projected.transpose(1, 2) + self.bias).sigmoid()


def radius_mask(height: int, width: int, radius: int, device: torch.device | None = None) -> Tensor:
    """Pairs of grid cells at most `radius` rows and `radius` columns apart: bool (N, N), N = height·width."""
    rows, columns = (_band(size, radius, device) for size in (height, width))
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(height * width, height * width)


def _band(size: int, radius: int, device: torch.device | None) -> Tensor:
    position = torch.arange(size, device=device)
    return (position[:, None] - position).abs() <= radius


def affinity_labels(labels: Tensor, stride: int, radius: int | None = None, ignore_index: int = IGNORE) -> Tensor:
    """Pair labels from pixel labels (B, H, W): uint8 (B, N, N), 1 same class, 0 different, else ignored.

    The labels are read at every `stride`-th pixel (nearest, N = ⌊H/stride⌋·⌊W/stride⌋). Ignored are the pairs
    of an ignored cell and, unless `radius` is None, those outside the `radius_mask`.
    """
    height, width = labels.shape[-2] // stride, labels.shape[-1] // stride
    grid = F.interpolate(labels[:, None].float(), (height, width), mode="nearest").flatten(1)  # (B, N)
    pairs = (grid[:, :, None] == grid[:, None, :]).to(torch.uint8)
    known = grid != ignore_index
    used = known[:, :, None] & known[:, None, :]
    if radius is not None:
        used = used & radius_mask(height, width, radius, labels.device)
    return pairs.masked_fill(~used, ignore_index)


def pair_counts(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of positive and of negative pairs in the whole batch, each plus one so that they can divide."""
    positives, negatives = distributed.batch_sum(torch.stack([(targets == kind).sum() for kind in (1, 0)])).unbind()
    return positives + 1, negatives + 1


def affinity_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """½·mean(1 − P over pairs labelled 1) + ½·mean(P over pairs labelled 0); scalar, in [0, 1].

    probabilities, targets: (B, N, N), as of `AffinityHead` and `affinity_labels`.
    """
    probabilities = probabilities.float()
    positives, negatives = pair_counts(targets)
    apart = ((1 - probabilities) * (targets == 1)).sum() / positives
    together = (probabilities * (targets == 0)).sum() / negatives
    return distributed.processes() * (0.5 * apart + 0.5 * together)


def transition_matrix(affinity: Tensor, mask: Tensor | None = None, power: int = 2, epsilon: float = 0.1) -> Tensor:
    """T = P^power / (column sums + epsilon) of affinities (B, N, N) in `mask` (N, N); element-wise power."""
    affinity = affinity.float() if mask is None else affinity.float().masked_fill(~mask, 0)
    affinity = affinity.pow(power)
    return affinity / (affinity.sum(dim=1, keepdim=True) + epsilon)


def propagate(maps: Tensor, transition: Tensor, steps: int = 1) -> Tensor:
    """Maps (B, K, h, w), flattened to rows x, after `steps` products x ← x·T with `transition` (B, N, N)."""
    rows = maps.float().flatten(2)
    with torch.autocast(maps.device.type, enabled=False):  # class scores lie closer than half precision tells
        for _ in range(steps):
            rows = rows @ transition
    return rows.view(maps.shape)


def class_scores(maps: Tensor, labels: Tensor, background: float) -> Tensor:
    """Softmax over [background, present classes] at every pixel: (B, C, h, w), zero for absent classes.

    maps: (B, K, h, w) in [0, 1]. labels: (B, K), 1 for present classes.
    """
    scores = F.pad(maps, (0, 0, 0, 0, 1, 0), value=background)
    absent = F.pad(labels, (1, 0), value=1) == 0
    return scores.masked_fill(absent[:, :, None, None], -torch.inf).softmax(dim=1)
