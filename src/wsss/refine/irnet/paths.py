"""Affinities from boundaries: cells have a high affinity unless the straight path between them crosses a boundary.

Ahn, Cho & Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations",
CVPR 2019 (IRNet).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss.refine.walk import half_plane_offsets


def path_offsets(radius: int) -> Tensor:
    """The offsets (O, 2) of `half_plane_offsets`, sorted by the length of their paths, as published."""
    return torch.stack([path[0] for path in search_paths(radius)])


@lru_cache(maxsize=16)
def search_paths(radius: int) -> tuple[Tensor, ...]:
    """The straight path (length, 2) to every neighbour, (dy, dx) from the destination back to (0, 0).

    Sorted by length, then in the order of `half_plane_offsets`.
    """
    return tuple(sorted(map(straight_path, half_plane_offsets(radius)), key=len))


def straight_path(destination: Tensor) -> Tensor:
    """Cells (length, 2) closer than 1 to the line between (0, 0) and `destination` (2,), in its bounding box.

    Sorted by |dy| + |dx|, the farthest first, then by rows, then by columns.
    """
    dy, dx = destination.tolist()
    box = [(y, x) for y in range(min(dy, 0), max(dy, 0) + 1) for x in range(min(dx, 0), max(dx, 0) + 1)]
    near = [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy * dy + dx * dx]
    return torch.tensor(sorted(near, key=lambda cell: -abs(cell[0]) - abs(cell[1])))


def boundary_affinity(boundary: Tensor, radius: int) -> Tensor:
    """Affinity stencil (B, O, h, w) for `path_offsets`: 1 − the strongest boundary on the path (eq. 6).

    boundary: probabilities (B, h, w), taken as 1 beyond the grid, so that no walk leaves the image.
    Memory, also in training, is that of the result.
    """
    return 1 - _PathMaximum.apply(boundary, radius)


class _PathMaximum(torch.autograd.Function):
    """Maximum over each path; its gradient goes to the cell that attains it."""

    @staticmethod
    def forward(ctx: Any, boundary: Tensor, radius: int) -> Tensor:
        batch, height, width = boundary.shape
        paths, reach = search_paths(radius), radius - 1
        padded = F.pad(boundary, (reach, reach, 0, reach), value=1.0)
        maximum = boundary.new_empty(batch, len(paths), height, width)
        steps = torch.empty_like(maximum, dtype=torch.uint8)
        for o, path in enumerate(paths):
            cells = [padded[:, y : y + height, x + reach : x + reach + width] for y, x in path.tolist()]
            maximum[:, o], steps[:, o] = torch.stack(cells).max(0)
        ctx.radius = radius
        ctx.save_for_backward(steps)
        return maximum

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (steps,) = ctx.saved_tensors
        batch, _, height, width = grad.shape
        reach = ctx.radius - 1
        pitch = width + 2 * reach
        rows, columns = (torch.arange(n, device=grad.device) for n in (height, width))
        here = rows[:, None] * pitch + columns + reach
        out = grad.new_zeros(batch, (height + reach) * pitch)
        for o, path in enumerate(search_paths(ctx.radius)):
            moves = (path[:, 0] * pitch + path[:, 1]).to(grad.device)
            strongest = here + moves[steps[:, o].long()]
            out.scatter_add_(1, strongest.flatten(1), grad[:, o].flatten(1))
        return out.view(batch, height + reach, pitch)[:, :height, reach : reach + width], None
