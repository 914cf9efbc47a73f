"""Pooling of class maps over positions."""

from __future__ import annotations

import torch
from torch import Tensor

TOP_SHARE = 0.25
"""Share of the positions that top_quarter averages."""


def pool(maps: Tensor, how: str) -> Tensor:
    """(B, K, h, w) → (B, K). how: average, max, or top_quarter, the mean of the highest quarter of positions."""
    flat = maps.flatten(2)
    if how == "average":
        return flat.mean(2)
    if how == "max":
        return flat.amax(2)
    count = max(1, round(TOP_SHARE * flat.shape[2]))
    return torch.topk(flat, count, dim=2).values.mean(2)
