import pytest
import torch

from wsss.refine.irnet.paths import boundary_affinity, path_offsets, search_paths, straight_path
from wsss.refine.walk import half_plane_offsets


def plain_affinity(boundary, radius):
    """1 − the maximum over each path, pair by pair; 0 beyond the grid."""
    batch, height, width = boundary.shape
    offsets = path_offsets(radius)
    affinity = torch.zeros(batch, len(offsets), height, width)
    for o, path in enumerate(search_paths(radius)):
        dy, dx = offsets[o].tolist()
        for y in range(height - dy):
            for x in range(max(0, -dx), width - max(0, dx)):
                cells = [boundary[:, y + b, x + a] for b, a in path.tolist()]
                affinity[:, o, y, x] = 1 - torch.stack(cells).amax(0)
    return affinity


@pytest.mark.parametrize(("size", "radius"), [((3, 2), 5), ((1, 9), 3), ((9, 11), 4)])
def test_affinity_and_its_gradient_equal_walking_every_path(size, radius):
    boundary = torch.rand(2, *size, requires_grad=True)
    got, want = boundary_affinity(boundary, radius), plain_affinity(boundary, radius)
    torch.testing.assert_close(got, want)
    weight = torch.rand_like(want)
    (gradient,) = torch.autograd.grad((got * weight).sum(), boundary)
    (expected,) = torch.autograd.grad((want * weight).sum(), boundary)
    torch.testing.assert_close(gradient, expected)


def test_a_wall_separates_its_sides_and_nothing_else():
    boundary = torch.zeros(1, 8, 12)
    boundary[:, :, 5] = 1
    affinity = boundary_affinity(boundary, 4)[0]
    for o, (dy, dx) in enumerate(path_offsets(4).tolist()):
        for y in range(8 - dy):
            for x in range(max(0, -dx), 12 - max(0, dx)):
                crosses = min(x, x + dx) <= 5 <= max(x, x + dx)
                assert affinity[o, y, x] == (0 if crosses else 1)


@pytest.mark.parametrize("radius", [3, 6])
def test_paths_are_connected_symmetric_and_cover_the_offsets(radius):
    paths = search_paths(radius)
    assert sorted(path[0].tolist() for path in paths) == half_plane_offsets(radius).tolist()
    for path in paths:
        assert path[-1].tolist() == [0, 0]
        cells = {tuple(cell) for cell in path.tolist()}
        end = path[0].tolist()
        assert cells == {(end[0] - y, end[1] - x) for y, x in cells}
        mirrored = straight_path(path[0] * torch.tensor([1, -1]))
        assert {tuple(cell) for cell in mirrored.tolist()} == {(y, -x) for y, x in cells}
        # Every cell but the first touches one that was visited before it.
        order = path.flip(0)
        for i in range(1, len(order)):
            assert ((order[:i] - order[i]).abs().amax(1) == 1).any()
