import pytest
import torch

from wsss.backbones.timm import TimmBackbone
from wsss.backbones.vit import ViTBackbone
from wsss.refine.affinitynet.network import pair_labels
from wsss.refine.irnet.network import (
    IRNet,
    displacement_costs,
    irnet_losses,
    relative_scores,
    walk_to_boundary,
)
from wsss.refine.irnet.paths import path_offsets
from wsss.refine.irnet.training import sample_labels


@pytest.fixture(scope="module", params=["test_resnet", "test_vit"])
def network(request):
    torch.manual_seed(0)
    backbone = ViTBackbone("test_vit") if request.param == "test_vit" else TimmBackbone(request.param)
    return IRNet(backbone, crop_size=64)


def test_both_branches_learn_and_the_backbone_does_not(network):
    network.train()
    logits, displacement = network(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 16, 24) and displacement.shape == (2, 2, 16, 24)
    labels = torch.zeros(2, 16, 24, dtype=torch.uint8)
    labels[:, :, 9:] = 2
    sum(irnet_losses(logits, displacement, pair_labels(labels, path_offsets(4)), 4).values()).backward()
    branches = [(name, p) for name, p in network.named_parameters() if not name.startswith("backbone.")]
    assert all(p.grad.abs().sum() > 0 for _, p in branches)
    assert all(p.grad is None for p in network.backbone.parameters())
    assert not any(m.training for m in network.backbone.modules())
    fast = {id(p) for p in network.displacement_parameters()}
    assert fast == {id(p) for name, p in branches if name.startswith("displacement")}


@pytest.mark.parametrize("size", [(50, 61), (80, 64)])
def test_inference_is_mirror_equivariant_and_centred(network, size):
    network.eval()
    images = torch.randn(2, 3, *size)
    images[..., 1:] = (images[..., 1:] + images[..., :-1]) / 2
    boundary, displacement = network.infer(images)
    grid = tuple(-(-side // 4) for side in size)
    assert boundary.shape == (2, *grid) and displacement.shape == (2, 2, *grid)
    mirrored, _ = network.infer(images.flip(3))
    torch.testing.assert_close(mirrored, boundary.flip(2), rtol=1e-4, atol=1e-5)
    network.measure_mean_displacement([torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)])
    expected = torch.stack([network(torch.full((1, 3, 64, 64), v))[1].mean((0, 2, 3)) for v in (0.0, 1.0)])
    torch.testing.assert_close(network.mean_displacement, expected.mean(0).detach())
    shifted = network.infer(images)[1]
    torch.testing.assert_close(displacement - shifted, network.mean_displacement.view(1, 2, 1, 1).expand_as(shifted))
    network.mean_displacement.zero_()


def test_a_perfect_field_costs_nothing():
    offsets = path_offsets(4)
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(12.0), indexing="ij")
    centroid = torch.stack([4 - y, 6 - x])[None]  # every cell points at (4, 6)
    labels = pair_labels(torch.ones(1, 9, 12, dtype=torch.uint8), offsets)
    foreground, background = displacement_costs(centroid, offsets)
    assert (foreground * labels.foreground[:, None]).abs().max() == 0
    assert (background * labels.foreground[:, None]).sum() > 0
    assert displacement_costs(torch.ones(1, 2, 9, 12), offsets)[1].abs().max() == 0
    sure = torch.full((1, 9, 12), -20.0)  # no boundary anywhere
    assert sum(irnet_losses(sure, centroid, labels, 4).values()).item() == pytest.approx(0, abs=1e-4)
    assert sum(irnet_losses(-sure, centroid, labels, 4).values()).item() > 1


def test_walk_fills_the_region_and_stops_at_its_boundary():
    boundary = torch.zeros(2, 12, 16)
    boundary[:, :, 7] = 1
    cams = torch.zeros(2, 1, 12, 16)
    cams[:, 0, 5, 2] = 1
    walked = torch.stack(list(walk_to_boundary(list(cams), boundary, radius=4, beta=10, steps=400)))
    assert (walked[..., 7:] == 0).all()
    left = walked[..., :7]
    assert left.min() > 0 and left.std() < 0.05 * left.mean()


def test_scores_are_relative_to_the_strongest_class_and_may_have_none():
    cams, boundary = torch.rand(2, 7, 9), torch.rand(7, 9) * 0.5

    def walked(seeds):
        (maps,) = walk_to_boundary([seeds], boundary[None], radius=5, beta=10, steps=16)
        return relative_scores(maps, 4, (26, 35), 0.25)

    scores = walked(cams)
    assert scores.shape == (3, 26, 35)
    assert (scores[0] == 0.25).all() and scores[1:].max() == 1
    torch.testing.assert_close(walked(cams * 7), scores)
    assert torch.equal(walked(cams[:0]), scores[:1])


def test_rescaled_labels_are_samples_of_the_original():
    labels = torch.randint(255, (1, 40, 64), dtype=torch.uint8)
    small = sample_labels(labels, (10, 16))
    assert torch.equal(small, labels[:, 2::4, 2::4])
    assert torch.equal(sample_labels(small.repeat_interleave(4, 1).repeat_interleave(4, 2), (10, 16)), small)
