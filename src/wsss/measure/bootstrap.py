"""Confidence interval of mIoU by the bootstrap over images: resampling with replacement (Efron 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

DRAWS = 1000
GROUPS = 256
"""Least number of groups of a large split's images; resampling groups bounds the memory."""
T = TypeVar("T")


def counts(matrices: np.ndarray) -> np.ndarray:
    """True positives, true and predicted pixels of each class (…, 3, C) of confusion matrices (…, C, C + 1)."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.stack([right, matrices.sum(-1), matrices[..., :-1].sum(-2)], axis=-2)


def grouped(items: Sequence[T], total: int) -> list[Sequence[T]]:
    """Consecutive items in groups, of a size at which a split of `total` items has GROUPS groups, or one per item."""
    size = max(1, total // GROUPS)
    return [items[i : i + size] for i in range(0, len(items), size)]


def resampled(groups: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """mIoU (draws, …) in [0, 1] of groups (G, …, 3, C) resampled with replacement, with a fixed seed.

    A class that occurs in the split but not in a draw is left out of that draw's mean; one that never occurs counts 0.
    """
    drawn = np.random.default_rng(0).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=draws)
    flat = groups.reshape(len(groups), -1).astype(np.float64)
    sums = (drawn @ flat).reshape(draws, *groups.shape[1:])
    right, union = sums[..., 0, :], sums[..., 1, :] + sums[..., 2, :] - sums[..., 0, :]
    whole = groups.sum(0)
    occurs = whole[..., 1, :] + whole[..., 2, :] > 0
    seen = union > 0
    iou = np.divide(right, union, out=np.zeros_like(right), where=seen)
    share = occurs.sum(-1) / occurs.shape[-1]
    return iou.sum(-1) / np.maximum(seen.sum(-1), 1) * share


def interval(groups: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the mIoU, in percent, of groups (G, 3, C); None for a single group."""
    if len(groups) < 2:
        return None
    low, high = np.percentile(resampled(groups), [2.5, 97.5])
    return 100 * float(low), 100 * float(high)
