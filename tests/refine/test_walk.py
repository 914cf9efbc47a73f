import pytest
import torch

from stencils import dense_to_stencil, flat_indices, stencil_to_dense
from wsss.refine.walk import (
    half_plane_offsets,
    inner_cells,
    near_offsets,
    pair_mask,
    random_walk,
    walked_pairs,
)

GRIDS = [(3, 2), (1, 1), (2, 9), (9, 3), (12, 17)]


def field(batch, height, width, radius=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    offsets = half_plane_offsets(radius)
    return torch.rand(batch, len(offsets), height, width, generator=generator), offsets


def dense_walk(seeds, affinity, offsets, beta, steps):
    """The published algorithm, written out pair by pair in float64."""
    batch, classes, height, width = seeds.shape
    walked = torch.empty_like(seeds, dtype=torch.float64)
    for b in range(batch):
        a = torch.eye(height * width, dtype=torch.float64)
        for o, (dy, dx) in enumerate(offsets.tolist()):
            for y in range(height):
                for x in range(width):
                    if y + dy < height and 0 <= x + dx < width:
                        i, j = y * width + x, (y + dy) * width + x + dx
                        a[i, j] = a[j, i] = affinity[b, o, y, x].double()
        a = a**beta
        transition = torch.linalg.matrix_power(a / a.sum(0, keepdim=True), steps)
        walked[b] = (seeds[b].flatten(1).double() @ transition).view(classes, height, width)
    return walked


@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("radius", [2, 5])
def test_equals_dense_matrix_power(size, radius):
    affinity, offsets = field(2, *size, radius)
    seeds = torch.rand(2, 3, *size)
    want = dense_walk(seeds, affinity, offsets, beta=3.0, steps=64)
    got = random_walk(seeds, affinity, offsets, beta=3.0, steps=64)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)
    exact = random_walk(seeds.double(), affinity.double(), offsets, beta=3.0, steps=64)
    torch.testing.assert_close(exact, want, rtol=0, atol=1e-12)


def test_constant_is_a_fixed_point_and_a_reversible_walk_keeps_its_stationary_mass():
    affinity, offsets = field(1, 20, 30)
    affinity = affinity.double()
    constant = torch.full((1, 1, 20, 30), 0.7, dtype=torch.float64)
    torch.testing.assert_close(random_walk(constant, affinity, offsets, 8.0, 200), constant)
    # Each value is spread by columns of T, so mass weighted by the column sums is what a step preserves.
    degree = (stencil_to_dense(affinity, offsets)[0] ** 8).sum(0).view(20, 30)
    seeds = torch.rand(1, 4, 20, 30, dtype=torch.float64)
    walked = random_walk(seeds, affinity, offsets, 8.0, 50)
    torch.testing.assert_close((walked * degree).sum((2, 3)), (seeds * degree).sum((2, 3)))
    assert not torch.allclose(walked, seeds, atol=0.05)


def test_batch_equals_single_images():
    affinity, offsets = field(3, 11, 14)
    seeds = torch.rand(3, 2, 11, 14)
    together = random_walk(seeds, affinity, offsets, 8.0, 32)
    for b in range(3):
        alone = random_walk(seeds[b : b + 1], affinity[b : b + 1], offsets, 8.0, 32)
        torch.testing.assert_close(together[b : b + 1], alone)


def test_walks_in_full_precision_under_autocast():
    affinity, offsets = field(1, 8, 9)
    seeds = torch.rand(1, 2, 8, 9)
    with torch.autocast("cpu", torch.bfloat16):
        got = random_walk(seeds, affinity, offsets, 4.0, 16)
    assert torch.equal(got, random_walk(seeds, affinity, offsets, 4.0, 16))


def test_order_of_offsets_does_not_matter():
    affinity, offsets = field(1, 8, 9)
    order = torch.randperm(len(offsets))
    seeds = torch.rand(1, 2, 8, 9)
    got = random_walk(seeds, affinity[:, order], offsets[order], 4.0, 16)
    torch.testing.assert_close(got, random_walk(seeds, affinity, offsets, 4.0, 16))


def test_nothing_crosses_zero_affinity():
    affinity, offsets = field(1, 10, 12)
    dense = stencil_to_dense(affinity, offsets)
    right = (torch.arange(120) % 12 >= 6).float()
    dense = dense * (right[:, None] == right[None])
    seeds = (1 - right).view(1, 1, 10, 12)
    walked = random_walk(seeds, dense_to_stencil(dense, offsets, 10, 12), offsets, 8.0, 64)
    torch.testing.assert_close(walked, seeds)


@pytest.mark.parametrize("size", GRIDS)
def test_dense_and_stencil_are_two_views_of_one_field(size):
    affinity, offsets = field(2, *size)
    dense = stencil_to_dense(affinity, offsets)
    assert torch.equal(dense, dense.transpose(1, 2))
    assert torch.equal(dense_to_stencil(dense, offsets, *size), affinity * pair_mask(offsets, *size))


def test_offsets_hold_every_near_pair_once():
    offsets = half_plane_offsets(5)
    both = {tuple(o) for o in offsets.tolist()} | {(-dy, -dx) for dy, dx in offsets.tolist()}
    disc = {(y, x) for y in range(-9, 10) for x in range(-9, 10) if 0 < y * y + x * x < 25}
    assert both == disc and len(both) == 2 * len(offsets) == 68


def test_inner_cells_are_those_with_all_pairs_on_both_sides_of_the_column_range():
    offsets = half_plane_offsets(4)
    full = pair_mask(offsets, 9, 14).all(0)
    inner = pair_mask(offsets, 9, 14, inner=True)
    assert inner[0].sum() == 6 * 8
    assert (full | ~inner[0]).all()
    assert torch.equal(
        torch.arange(9 * 14).view(9, 14)[inner_cells(offsets, 9, 14)].flatten() + 14 + 2,
        flat_indices(offsets, torch.tensor([1, 2]), 9, 14),
    )
    with pytest.raises(ValueError, match="3×6 grid"):
        inner_cells(offsets, 3, 6)
    assert not pair_mask(offsets, 3, 6, inner=True).any()


@pytest.mark.parametrize(
    ("size", "radius"), [((11, 12), 5), ((10, 40), 4), ((14, 9), 4), ((8, 8), 3), ((6, 5), 2), ((4, 90), 1)]
)
def test_a_small_grid_is_walked_in_shorter_steps(size, radius):
    offsets = half_plane_offsets(5)
    near, pairs = near_offsets(offsets, *size), walked_pairs(offsets, *size)
    shorter = half_plane_offsets(radius).tolist() if radius > 1 else []
    assert offsets[near].tolist() == shorter
    cells = max(size[0] - radius + 1, 0) * max(size[1] - 2 * radius + 2, 0)
    assert pairs.flatten(1).sum(1).tolist() == [cells if used else 0 for used in near]


def test_refuses_affinity_of_another_grid():
    affinity, offsets = field(1, 6, 7)
    with pytest.raises(ValueError, match="affinity has shape"):
        random_walk(torch.rand(1, 2, 7, 6), affinity, offsets, 8.0, 4)
