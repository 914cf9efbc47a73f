"""Supervision of affinities between cells: pair labels and their loss (AFA, Ru et al. 2022, §3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.runtime import distributed
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import resize


def radius_mask(height: int, width: int, radius: int, device: torch.device | None = None) -> Tensor:
    """Pairs of grid cells at most `radius` rows and `radius` columns apart: bool (N, N), N = height·width."""
    rows, columns = (_band(size, radius, device) for size in (height, width))
    return (rows[:, None, :, None] & columns[None, :, None, :]).reshape(height * width, height * width)


def _band(size: int, radius: int, device: torch.device | None) -> Tensor:
    position = torch.arange(size, device=device)
    return (position[:, None] - position).abs() <= radius


def dense_pair_labels(labels: Tensor, stride: int, radius: int | None = None, ignore_index: int = IGNORE) -> Tensor:
    """Pair labels uint8 (B, N, N) from pixel labels (B, H, W): 1 same class, 0 different, `ignore_index` ignored.

    The labels are read at every `stride`-th pixel (nearest, N = ⌊H/stride⌋·⌊W/stride⌋). Pairs with an ignored cell
    are ignored and, unless `radius` is None, those outside the `radius_mask`.
    """
    height, width = labels.shape[-2] // stride, labels.shape[-1] // stride
    grid = resize(labels[:, None], (height, width), mode="nearest").flatten(1)  # (B, N)
    pairs = (grid[:, :, None] == grid[:, None, :]).to(torch.uint8)
    known = grid != ignore_index
    used = known[:, :, None] & known[:, None, :]
    if radius is not None:
        used = used & radius_mask(height, width, radius, labels.device)
    return pairs.masked_fill(~used, ignore_index)


def pair_counts(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of positive and of negative pairs in the whole batch, each plus one to avoid division by zero."""
    positives, negatives = distributed.batch_sum(torch.stack([(targets == kind).sum() for kind in (1, 0)])).unbind()
    return positives + 1, negatives + 1


def dense_pair_loss(probabilities: Tensor, targets: Tensor) -> Tensor:
    """½·mean(1 − P over pairs labelled 1) + ½·mean(P over pairs labelled 0); scalar, in [0, 1].

    probabilities, targets: (B, N, N), from `AffinityHead` and `dense_pair_labels`.
    """
    probabilities = probabilities.float()
    positives, negatives = pair_counts(targets)
    apart = ((1 - probabilities) * (targets == 1)).sum() / positives
    together = (probabilities * (targets == 0)).sum() / negatives
    return distributed.processes() * (0.5 * apart + 0.5 * together)
