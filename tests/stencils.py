"""Other forms of affinity stencils, in which published code states its pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.refine.walk import inner_cells, pair_slices


def flat_indices(offsets: Tensor, shifts: Tensor, height: int, width: int) -> Tensor:
    """Row-major indices (…, M) of the inner cells moved by `shifts` (…, 2), as published code lists pairs."""
    cells = torch.arange(height * width).view(height, width)[inner_cells(offsets, height, width)].flatten()
    return cells + (shifts[..., 0] * width + shifts[..., 1])[..., None]


def dense_to_stencil(dense: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
    """Stencil (B, O, h, w) of symmetric matrices (B, h·w, h·w); pairs beyond the offsets are dropped."""
    if dense.shape[1:] != (height * width, height * width):
        raise ValueError(
            f"affinity matrices have shape {tuple(dense.shape)}; a {height}×{width} grid needs "
            f"(B, {height * width}, {height * width})"
        )
    index = torch.arange(height * width, device=dense.device).view(height, width)
    affinity = dense.new_zeros(len(dense), len(offsets), height, width)
    for o, (dy, dx) in enumerate(offsets.tolist()):
        source, target = pair_slices(dy, dx, height, width)
        values = dense[:, index[source].flatten(), index[target].flatten()]
        affinity[:, o, *source] = values.view(len(dense), *index[source].shape)
    return affinity


def stencil_to_dense(affinity: Tensor, offsets: Tensor) -> Tensor:
    """Symmetric affinity matrices (B, h·w, h·w) with unit diagonal; quadratic memory, so for small grids."""
    batch, _, height, width = affinity.shape
    index = torch.arange(height * width, device=affinity.device).view(height, width)
    dense = torch.eye(height * width, dtype=affinity.dtype, device=affinity.device).repeat(batch, 1, 1)
    for o, (dy, dx) in enumerate(offsets.tolist()):
        source, target = pair_slices(dy, dx, height, width)
        values = affinity[:, o, *source].flatten(1)
        i, j = index[source].flatten(), index[target].flatten()
        dense[:, i, j] = values
        dense[:, j, i] = values
    return dense
