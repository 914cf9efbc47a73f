"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek & Davis 2010).

Points in d dimensions are splatted onto the d + 1 corners of their simplex in the lattice A*_d, blurred along
its d + 1 axes and sliced back. Time and memory are linear in the number of points, for any kernel width.

Conventions are those of Krähenbühl & Koltun's implementation, so that results agree with theirs: the blur is
(½, 1, ½), vertices that no point touches are absent, and the sum is scaled by 1/(1 + 2^−d).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class PermutohedralLattice:
    """The filter out_i ≈ c·Σ_j exp(−½‖f_i − f_j‖²) v_j of fixed features f.

    features: (B, N, d), in units of the kernel's standard deviation; elements of the batch are independent.
    The kernel is not normalised: c depends on d and on the density of the points, and is about 0.53 for the colours
    and positions of an image (d = 5).

    Raises:
        ValueError: another shape, or features that span more lattice cells than 64-bit keys can number.
    """

    def __init__(self, features: Tensor) -> None:
        if features.ndim != 3:
            raise ValueError(f"features {tuple(features.shape)} given; accepted: (B, N, d)")
        self.batch, self.points, self.dims = features.shape
        with torch.no_grad():
            zero_corner, rank, weights = _enclosing_simplex(features.flatten(0, 1).float().T)
            keys, steps = _corner_keys(zero_corner, rank, self.batch)
            self._index(keys, steps, weights)

    def filter(self, values: Tensor) -> Tensor:
        """Filtered values (B, N, L), of the values' float dtype; differentiable with respect to `values`."""
        if values.ndim != 3 or values.shape[:2] != (self.batch, self.points):
            accepted = f"({self.batch}, {self.points}, L)"
            raise ValueError(f"values {tuple(values.shape)} given; accepted for these features: {accepted}")
        return _LatticeFilter.apply(values.flatten(0, 1), self, False).view_as(values)

    def _index(self, keys: Tensor, steps: list[int], weights: Tensor) -> None:
        """Numbers the touched vertices; lists the corners of each point, and the points and neighbours of each vertex.

        All three are bags of (row, weight), in 32 bits to halve the memory traffic. An extra vertex that stays zero
        represents every absent neighbour.
        """
        flat, order = keys.T.flatten().sort()
        vertices, vertex_of, counts = flat.unique_consecutive(return_inverse=True, return_counts=True)
        corners = torch.empty_like(order).scatter_(0, order, vertex_of)
        self.corners = corners.view(-1, self.dims + 1).int()
        self.corner_weights = weights.T.contiguous()
        self.vertex_points = order.div(self.dims + 1, rounding_mode="floor").int()
        self.vertex_weights = weights.T.flatten()[order]
        self.vertex_starts = F.pad(counts.cumsum(0), (1, 0)).int()
        self.neighbours = [_neighbours(vertices, step) for step in steps]
        self.blur_weights = weights.new_tensor([0.5, 1.0, 0.5]).repeat(len(vertices) + 1, 1)

    def _apply(self, values: Tensor, reverse: bool) -> Tensor:
        """Splat, blur and slice values (B·N, L); the transpose blurs along the axes in reverse order."""
        vertices = _weighted_sum(values, self.vertex_points, self.vertex_weights, self.vertex_starts)
        for bags in reversed(self.neighbours) if reverse else self.neighbours:
            vertices = _weighted_sum(vertices, bags, self.blur_weights)
        return _weighted_sum(vertices, self.corners, self.corner_weights) / (1 + 2.0**-self.dims)


class _LatticeFilter(torch.autograd.Function):
    """The filter as a linear map, whose gradient is its transpose."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: PermutohedralLattice, reverse: bool) -> Tensor:
        ctx.lattice, ctx.reverse = lattice, reverse
        return lattice._apply(values.contiguous(), reverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _LatticeFilter.apply(grad, ctx.lattice, not ctx.reverse), None, None


def _weighted_sum(rows: Tensor, bags: Tensor, weights: Tensor, starts: Tensor | None = None) -> Tensor:
    """Σ of weight · row over each bag. bags: (M, n), or flat with `starts`, the beginning of each bag."""
    return F.embedding_bag(bags, rows, starts, mode="sum", per_sample_weights=weights.to(rows.dtype))


def _enclosing_simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex around each point (Adams 2010, section 3.1).

    features: (d, P). Returns three (d + 1, P) tensors: the integer coordinates of the remainder-0 corner; the
    ranks in 0..d that order the other corners; barycentric weights, row k for the remainder-k corner.
    """
    dims = len(features)
    elevated = _elevate(features)
    zero_corner = (elevated / (dims + 1)).round().mul_(dims + 1)
    offset = elevated - zero_corner
    rank = torch.zeros_like(elevated, dtype=torch.int64)
    for i in range(dims):
        for j in range(i + 1, dims + 1):
            larger = offset[i] < offset[j]
            rank[i] += larger
            rank[j] += ~larger
    # Rounding each coordinate separately may leave the plane Σ = 0; the ranks determine which ones to correct.
    rank += (zero_corner.sum(0) / (dims + 1)).round().long()
    shift = (rank < 0).long() - (rank > dims).long()
    rank += (dims + 1) * shift
    zero_corner += (dims + 1) * shift

    by_rank = torch.empty_like(elevated).scatter_(0, rank, (elevated - zero_corner) / (dims + 1))
    descending = by_rank.flip(0)
    weights = torch.cat([descending[:1] + 1 - descending[-1:], descending[1:] - descending[:-1]])
    return zero_corner.long(), rank, weights


def _elevate(features: Tensor) -> Tensor:
    """Points (d, P) in the plane Σ = 0 of d + 1 dimensions, scaled so that the blur has unit deviation."""
    dims = len(features)
    elevated = features.new_empty(dims + 1, features.shape[1])
    total = torch.zeros_like(features[0])
    for j in range(dims, 0, -1):
        scaled = features[j - 1] * ((dims + 1) * (2 / 3 / (j * (j + 1))) ** 0.5)
        elevated[j] = total - j * scaled
        total += scaled
    elevated[0] = total
    return elevated


def _corner_keys(zero_corner: Tensor, rank: Tensor, batch: int) -> tuple[Tensor, list[int]]:
    """An integer key per corner, (d + 1, P), unique over batch and lattice, and the key steps to its neighbours.

    The last coordinate follows from the others. Coordinates are the digits of the key, with a margin beside the
    smallest and the largest, so that a step along an axis never carries.
    """
    dims = len(zero_corner) - 1
    low = zero_corner[:dims].amin(1) - 2 * (dims + 1)
    extent = (zero_corner[:dims].amax(1) + 2 * (dims + 1) - low + 1).tolist()
    radix = [1]
    for size in extent:
        radix.append(radix[-1] * size)
    if radix[-1] * batch >= 2**63:
        raise ValueError(f"features span {extent} lattice cells; accepted: below 2^63, batch included")
    place = torch.tensor(radix[:dims], device=rank.device)[:, None]
    item = torch.arange(batch, device=rank.device).repeat_interleave(rank.shape[1] // batch)
    base = ((zero_corner[:dims] - low[:, None]) * place).sum(0) + radix[dims] * item
    ones = sum(radix[:dims])
    keys = torch.empty_like(rank)
    for k in range(dims + 1):
        wrapped = ((rank[:dims] > dims - k) * place).sum(0)
        keys[k] = base + k * ones - (dims + 1) * wrapped
    steps = [(dims + 1) * r - ones for r in radix[:dims]] + [-ones]
    return keys, steps


def _neighbours(vertices: Tensor, step: int) -> Tensor:
    """Rows of (vertex − step, vertex, vertex + step) in the sorted keys; the number of keys for an absent vertex."""
    count = len(vertices)
    wanted = vertices + step
    found = torch.searchsorted(vertices, wanted).clamp_(max=count - 1)
    exists = (vertices[found] == wanted).nonzero().squeeze(1)
    rows = torch.full((count + 1, 3), count, dtype=torch.int32, device=vertices.device)
    rows[:, 1] = torch.arange(count + 1, device=vertices.device)
    rows[exists, 2] = found[exists].int()
    rows[found[exists], 0] = exists.int()
    return rows
