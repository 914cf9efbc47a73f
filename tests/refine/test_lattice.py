"""The permutohedral lattice: linear, its own transpose's partner, blind to order, and close to a Gaussian."""

from __future__ import annotations

import pytest
import torch

from wsss.refine.crf.lattice import PermutohedralLattice


def generator(seed):
    return torch.Generator().manual_seed(seed)


def points(batch=1, number=300, dims=5, spread=3.0, seed=0):
    return torch.rand(batch, number, dims, generator=generator(seed)) * spread


def exact(features, values):
    return torch.exp(-0.5 * torch.cdist(features, features).square()) @ values


@pytest.mark.parametrize("dims", [2, 3, 5])
def test_normalised_filter_is_close_to_the_exact_gaussian(dims):
    features = points(number=4000, dims=dims, spread=4.0)
    values = torch.cat([torch.ones(1, 4000, 1), torch.sin(features[..., :2])], dim=2)
    ours, theirs = PermutohedralLattice(features).filter(values), exact(features, values)
    error = (ours[..., 1:] / ours[..., :1]) - (theirs[..., 1:] / theirs[..., :1])
    assert error.abs().mean() < 0.03
    scale = ours[..., 0] / theirs[..., 0]
    assert scale.std() / scale.mean() < 0.08


def test_gradient_is_the_transpose():
    lattice = PermutohedralLattice(points(batch=2, number=20, spread=1.0))
    values = torch.rand(2, 20, 3, dtype=torch.float64, generator=generator(1), requires_grad=True)
    assert torch.autograd.gradcheck(lattice.filter, (values,))
    assert torch.autograd.gradgradcheck(lattice.filter, (values,))


def test_filter_is_nearly_symmetric():
    lattice = PermutohedralLattice(points(number=2000))
    a, b = torch.rand(2, 1, 2000, 1, generator=generator(2))
    left, right = (a * lattice.filter(b)).sum(), (lattice.filter(a) * b).sum()
    assert abs(left - right) < 0.01 * abs(left)


def test_weights_are_never_negative():
    lattice = PermutohedralLattice(points(number=50))
    assert lattice.filter(torch.eye(50)[None]).min() >= -1e-7  # every impulse response at once


def test_order_of_points_does_not_matter():
    features, values = points(), torch.rand(1, 300, 2, generator=generator(3))
    shuffle = torch.randperm(300, generator=generator(4))
    shuffled = PermutohedralLattice(features[:, shuffle]).filter(values[:, shuffle])
    torch.testing.assert_close(shuffled, PermutohedralLattice(features).filter(values)[:, shuffle])


def test_batch_elements_do_not_mix():
    features, values = points(batch=3), torch.rand(3, 300, 2, generator=generator(5))
    features[2] += 50  # of another range than the others
    alone = [PermutohedralLattice(features[i : i + 1]).filter(values[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(PermutohedralLattice(features).filter(values), torch.cat(alone))


def test_distant_points_do_not_meet():
    features = torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])
    filtered = PermutohedralLattice(features).filter(torch.tensor([[[1.0], [0.0]]]))
    assert filtered[0, 0] > 0.1
    assert filtered[0, 1] == 0


def test_wrong_shapes_and_endless_features_are_refused():
    with pytest.raises(ValueError, match=r"accepted: \(B, N, d\)"):
        PermutohedralLattice(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"accepted for these features: \(1, 300, L\)"):
        PermutohedralLattice(points()).filter(torch.zeros(1, 299, 2))
    with pytest.raises(ValueError, match="lattice cells"):
        PermutohedralLattice(points(spread=1e5))
