"""Class-aware refinement of maps by a transformer's attention (CLIP-ES, Lin et al. 2023, §3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from wsss.refine.walk import dense_walk

ROUNDS = 3
"""Number of Sinkhorn normalisations, of columns and then rows."""


def sinkhorn_transition(attention: Tensor) -> Tensor:
    """Symmetric, nearly doubly stochastic T (…, N, N) from attention between patches, whose scale has no effect."""
    matrix = attention
    for _ in range(ROUNDS):
        matrix = matrix / matrix.sum(-2, keepdim=True)
        matrix = matrix / matrix.sum(-1, keepdim=True)
    return (matrix + matrix.transpose(-2, -1)) / 2


@dataclass(frozen=True)
class Boxes:
    """mask: (K, h, w) bool, the union of a map's boxes. count: (K,) int64, its number of contours, at least 1."""

    mask: Tensor
    count: Tensor


def box_masks(cams: Tensor, threshold: float) -> Boxes:
    """Boxes around the regions above `threshold` × the maximum of maps (K, h, w) in [0, 1].

    As published, values are truncated to 255 levels, and boxes end one cell before the last column and row, so that a
    region within these alone has no box.
    """
    levels = (cams.detach().cpu().numpy() * 255).astype(np.uint8)
    mask = np.zeros(levels.shape, bool)
    counts = []
    last = levels.shape[1] - 1, levels.shape[2] - 1
    for chosen, level in zip(mask, levels, strict=True):
        above = level > int(threshold * level.max())
        parts, count = ndimage.label(above, np.ones((3, 3)))
        holes = ndimage.label(np.pad(~above, 1, constant_values=True))[1] - 1
        for rows, columns in ndimage.find_objects(parts):
            chosen[rows.start : min(rows.stop, last[0]), columns.start : min(columns.stop, last[1])] = True
        counts.append(max(count + holes, 1))
    return Boxes(torch.from_numpy(mask).to(cams.device), torch.tensor(counts))


def refine(
    cams: Tensor, transition: Tensor, threshold: float | None, power: int = 1, shares: Tensor | None = None
) -> Tensor:
    """Maps (K, h, w) spread along the attention from inside their boxes; threshold None: from all cells.

    Cells outside the boxes receive values but spread none. shares: (K, h, w), factors of the maps before spreading; the
    boxes are those of the unweighted maps.
    """
    sources = cams if shares is None else cams * shares
    if threshold is not None:
        sources = sources * box_masks(cams, threshold).mask
    return dense_walk(sources.flatten(1), transition, 2**power).view(cams.shape)
