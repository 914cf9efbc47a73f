"""Random walks: over local affinities, one implementation for AffinityNet and IRNet, and over dense ones.

Local affinities are stored as a stencil: `affinity[b, o, y, x]`, in [0, 1], is that of cell (y, x) of image b and its
neighbour (y + dy, x + dx), where (dy, dx) = offsets[o]. The offsets cover half a disc, so that every pair occurs once;
symmetry and a unit diagonal are implied, and pairs that leave the grid are 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

Slices = tuple[slice, slice]


def half_plane_offsets(radius: int) -> Tensor:
    """Offsets (O, 2), int64, (dy, dx), strictly closer than `radius` cells, below or directly to the right.

    Ordered by rows, then columns; 34 of them at radius 5, 152 at radius 10.
    """
    if radius < 2:
        raise ValueError(f"radius is {radius}: it must be at least 2 cells, for a cell to have neighbours")
    reach = range(-radius + 1, radius)
    pairs = [(dy, dx) for dy in range(radius) for dx in reach if dy * dy + dx * dx < radius * radius]
    return torch.tensor([pair for pair in pairs if pair > (0, 0)])


def pair_slices(dy: int, dx: int, height: int, width: int) -> tuple[Slices, Slices]:
    """Slices of the cells whose neighbour at (dy, dx), dy ≥ 0, is in the grid, and of those neighbours."""
    columns = max(0, width - abs(dx))
    rows = max(0, height - dy)
    source = slice(0, rows), slice(max(0, -dx), max(0, -dx) + columns)
    target = slice(dy, dy + rows), slice(max(0, dx), max(0, dx) + columns)
    return source, target


def pair_mask(offsets: Tensor, height: int, width: int, inner: bool = False) -> Tensor:
    """Mask (O, h, w), bool, of the pairs of the stencil that are in the grid.

    inner: only cells whose neighbours are *all* in the grid. AffinityNet and IRNet were trained on these, and
        AffinityNet walked on them; most pairs at the border of the grid are then left out, of a small grid all.
    """
    mask = torch.zeros(len(offsets), height, width, dtype=torch.bool, device=offsets.device)
    if inner:
        with suppress(ValueError):
            mask[:, *inner_cells(offsets, height, width)] = True
        return mask
    for o, (dy, dx) in enumerate(offsets.tolist()):
        mask[o, *pair_slices(dy, dx, height, width)[0]] = True
    return mask


def inner_cells(offsets: Tensor, height: int, width: int) -> Slices:
    """Slices of the M = (h − r + 1)(w − 2r + 2) cells whose neighbours (radius r) are all in the grid.

    Raises:
        ValueError: there is no such cell.
    """
    reach_y, reach_x = offsets.abs().amax(0).tolist()
    if height <= reach_y or width <= 2 * reach_x:
        raise ValueError(
            f"no cell of a {height}×{width} grid has all neighbours inside: they reach {reach_y} rows down "
            f"and {reach_x} columns to both sides"
        )
    return slice(0, height - reach_y), slice(reach_x, width - reach_x)


def near_offsets(offsets: Tensor, height: int, width: int) -> Tensor:
    """Which offsets (O,) AffinityNet walks on a grid, bool: all, or on a small grid the shorter ones, as in SEAM.

    With a side below 2r + 1 cells, neighbours are closer than r = ⌊(side − 1)/2⌋ cells, so that some cells still have
    all their neighbours inside; below 5 cells none is left.
    """
    radius, side = int(offsets.abs().max()) + 1, min(height, width)
    if side < 2 * radius + 1:
        radius = (side - 1) // 2
    return offsets.square().sum(1) < radius**2


def walked_pairs(offsets: Tensor, height: int, width: int) -> Tensor:
    """Mask (O, h, w), bool: the `near_offsets` of the cells whose neighbours at these offsets are all in the grid."""
    near = near_offsets(offsets, height, width)
    mask = torch.zeros(len(offsets), height, width, dtype=torch.bool, device=offsets.device)
    if near.any():
        mask[near] = pair_mask(offsets[near], height, width, inner=True)
    return mask


@torch.no_grad()
def random_walk(seeds: Tensor, affinity: Tensor, offsets: Tensor, beta: float, steps: int) -> Tensor:
    """Score maps (B, K, h, w) after `steps` steps: seeds · Tⁿ, T = a^β / column sums (AffinityNet, sec. 3.3).

    Every image of the batch has its own affinities (B, O, h, w). Computed by sparse products on the inputs' device, in
    time O(B·K·steps·O·h·w) and memory O(B·O·h·w); float32 differs from the dense float64 result by about 1e-6.

    Raises:
        ValueError: the shapes do not match.
    """
    batch, classes, height, width = seeds.shape
    if affinity.shape != (batch, len(offsets), height, width):
        raise ValueError(
            f"affinity has shape {tuple(affinity.shape)}; seeds {tuple(seeds.shape)} and {len(offsets)} "
            f"offsets need {(batch, len(offsets), height, width)}"
        )
    dtype = torch.promote_types(seeds.dtype, torch.float32)
    step = sparse_transition(affinity.to(dtype), offsets, beta)
    rows = seeds.to(dtype).permute(0, 2, 3, 1).reshape(batch * height * width, classes)
    with torch.autocast(seeds.device.type, enabled=False):  # sparse products have no half precision
        for _ in range(steps):
            rows = step @ rows
    return rows.view(batch, height, width, classes).permute(0, 3, 1, 2).contiguous()


def dense_walk(maps: Tensor, transition: Tensor, steps: int) -> Tensor:
    """Maps (…, K, N) after `steps` products x ← x·T with T (…, N, N): K rows are multiplied, never T by itself."""
    for _ in range(steps):
        maps = maps @ transition
    return maps


def walk_group(seeds: Sequence[Tensor], affinity: Tensor, offsets: Tensor, beta: float, steps: int) -> Sequence[Tensor]:
    """`random_walk` of B images with different numbers of classes: (k_b, h, w) each, affinity (B, O, h, w).

    A GPU computes all of them at once; a CPU one by one, as its caches hold the matrix of one image.
    """
    if affinity.is_cuda:
        most = max(map(len, seeds))
        padded = torch.stack([torch.nn.functional.pad(s, (0, 0, 0, 0, 0, most - len(s))) for s in seeds])
        walked = random_walk(padded, affinity, offsets, beta, steps)
        return [maps[: len(s)] for maps, s in zip(walked, seeds, strict=True)]
    pairs = zip(seeds, affinity, strict=True)
    return [random_walk(s[None], a[None], offsets, beta, steps)[0] for s, a in pairs]


def sparse_transition(affinity: Tensor, offsets: Tensor, beta: float) -> Tensor:
    """Transposes of a batch's T as one block-diagonal CSR matrix (B·h·w, B·h·w), whose rows sum to 1."""
    batch, _, height, width = affinity.shape
    cells = height * width
    # Row-major order of the offsets makes the columns of each row ascend, as CSR requires.
    order = sorted(range(len(offsets)), key=offsets.tolist().__getitem__)
    deltas = (offsets[order, 0] * width + offsets[order, 1]).tolist()
    forward = (affinity * pair_mask(offsets, height, width).to(affinity.device))[:, order].flatten(2) ** beta
    # The share that a cell receives from the neighbour before it; cells wrapped around by the roll have no pair.
    backward = torch.stack([forward[:, o].roll(delta, -1) for o, delta in enumerate(deltas)], 1)
    values = torch.cat([backward.flip(1), torch.ones_like(forward[:, :1]), forward], 1).transpose(1, 2)
    values = (values / values.sum(2, keepdim=True)).reshape(batch * cells, -1)
    shifts = torch.tensor([-delta for delta in reversed(deltas)] + [0] + deltas)
    columns = torch.arange(batch * cells, device=affinity.device)[:, None] + shifts.to(affinity.device)
    kept = values > torch.finfo(values.dtype).tiny  # subnormal numbers are slow and have no effect
    ends = torch.nn.functional.pad(kept.sum(1).cumsum(0), (1, 0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            ends.int(), columns[kept].int(), values[kept], [batch * cells] * 2, check_invariants=False
        )
