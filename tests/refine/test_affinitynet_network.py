import numpy as np
import pytest
import torch

from stencils import stencil_to_dense
from wsss.backbones.timm import TimmBackbone
from wsss.refine.affinitynet.network import (
    AffinityNet,
    PairLabels,
    pair_affinity,
    pair_labels,
    pair_losses,
    pool_confident_labels,
    pool_with_background,
    upsample_scores,
)
from wsss.refine.affinitynet.settings import Settings
from wsss.refine.affinitynet.walk import affinities, walk_cams
from wsss.refine.walk import half_plane_offsets

OFFSETS = half_plane_offsets(3)


def plain_affinity(features):
    """All pairs at once, by broadcasting; zero between cells that are not neighbours."""
    _, _, height, width = features.shape
    flat = features.flatten(2)
    affinity = torch.exp(-(flat[..., None] - flat[..., None, :]).abs().mean(1))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return affinity * ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 < 9)


@pytest.mark.parametrize("size", [(3, 2), (1, 7), (6, 5)])
def test_affinity_and_its_gradient_equal_broadcasting(size):
    features = torch.randn(2, 4, *size, requires_grad=True)
    got = stencil_to_dense(pair_affinity(features, OFFSETS), OFFSETS)
    want = plain_affinity(features)
    torch.testing.assert_close(got, want)
    weight = torch.rand_like(want)
    weight = weight + weight.transpose(1, 2)
    (gradient,) = torch.autograd.grad((got * weight).sum(), features)
    (expected,) = torch.autograd.grad((want * weight).sum(), features)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(gradient, expected)


def test_labels_equal_comparing_every_pair():
    labels = torch.from_numpy(np.random.default_rng(0).choice([0, 1, 2, 255], (2, 7, 5)).astype(np.uint8))
    got = pair_labels(labels, OFFSETS)
    want = PairLabels(*(torch.zeros(2, len(OFFSETS), 7, 5, dtype=torch.bool) for _ in range(3)))
    for b, o, y, x in np.ndindex(*want.background.shape):
        dy, dx = OFFSETS[o].tolist()
        if not (y + dy < 7 and 0 <= x + dx < 5):
            continue
        here, there = labels[b, y, x].item(), labels[b, y + dy, x + dx].item()
        if 255 in (here, there):
            continue
        kind = 2 if here != there else int(here > 0)
        want[kind][b, o, y, x] = True
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)


def test_loss_weighs_kinds_not_pairs_and_ignores_absent_kinds():
    affinity = torch.full((1, 2, 3, 3), 0.5, requires_grad=True)
    kinds = torch.zeros(3, 1, 2, 3, 3, dtype=torch.bool)
    kinds[0, 0, 0], kinds[2, 0, 1, 0, 0] = True, True
    loss = sum(pair_losses(affinity, PairLabels(*kinds)).values())
    assert loss.item() == pytest.approx(0.75 * np.log(2), rel=1e-3)
    loss.backward()
    assert torch.isfinite(affinity.grad).all()
    assert (affinity.grad[0, 0] < 0).all() and affinity.grad[0, 1, 0, 0] > 0


def test_confident_labels_follow_both_maps():
    low, high = torch.zeros(2, 8, 12), torch.zeros(2, 8, 12)
    low[1, :, :8], high[1, :, :4] = 1, 1  # `high` finds less foreground here, so columns 4–7 are background
    high[0, :, 4:8] = 1
    low[0, :, 8:10], high[1, :, 8:10] = 1, 1  # the two maps disagree; columns 10, 11 have no score
    labels = pool_confident_labels(low, high, stride=2)
    assert labels.tolist() == [[1, 1, 0, 0, 255, 255]] * 4
    assert pool_confident_labels(low, high, stride=5).shape == (2, 3)


def test_propagation_without_neighbours_is_pooling_and_with_them_spreads():
    cams = torch.zeros(2, 19, 30)
    cams[0, :, 4:12] = 1
    nothing = torch.zeros(1, len(OFFSETS), 5, 8)

    def propagated(affinity, beta):
        walk = Settings(method="affinitynet", alpha=6, beta=beta, steps=64)
        return upsample_scores(walk_cams([cams], affinity, OFFSETS, 4, walk)[0], 4, (19, 30))

    still = propagated(nothing, 8)
    assert still.shape == (3, 19, 30)
    assert torch.equal(still.argmax(0) == 1, cams[0] == 1)
    spread = propagated(nothing + 1, 1)
    assert spread[1].std() < 0.01 < still[1].std()
    assert (spread[2] == 0).all()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return AffinityNet(TimmBackbone("test_resnet", output_stride=8), stride=4, radius=3, channels=(8, 8, 16))


def test_network_gives_a_stencil_on_the_grid_and_learns(network):
    images = torch.randn(2, 3, 50, 63)
    affinity = network(images)
    assert affinity.shape == (2, len(OFFSETS), 13, 16)
    labels = torch.zeros(2, 13, 16, dtype=torch.uint8)
    labels[:, :, 8:] = 3
    sum(pair_losses(affinity, pair_labels(labels, network.offsets)).values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.head_parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.backbone.parameters())


def test_an_image_without_whole_neighbourhoods_keeps_its_maps(network):
    walk = Settings(method="affinitynet", inner_pairs=True, pad=True)
    image, cams = np.zeros((1, 15, 90, 3), np.uint8), torch.rand(2, 15, 90)
    affinity = affinities(network, image, walk, torch.device("cpu"))
    (walked,) = walk_cams([cams], affinity, network.offsets, network.stride, walk)
    torch.testing.assert_close(walked, pool_with_background(cams, walk.alpha, network.stride))


def test_network_refuses_a_backbone_with_too_few_stages(network):
    with pytest.raises(ValueError, match="reads 9 backbone stages"):
        AffinityNet(network.backbone, stride=4, channels=(8,) * 9)
