"""SEAM: equivariance, the correlation module against a dense reference, and one switch for each term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from names import class_names
from wsss.backbones.base import Backbone
from wsss.backbones.timm import TimmBackbone
from wsss.data.batch import Batch
from wsss.methods.seam.affine import Warp, WarpFamily, rotate
from wsss.methods.seam.correlation import pixel_correlation
from wsss.methods.seam.losses import View, cross_loss, siamese_losses
from wsss.methods.seam.network import Seam
from wsss.methods.seam.settings import Settings

WARPS = {
    "rescale": Warp(scale=0.3),
    "enlarge": Warp(scale=1.5),
    "flip": Warp(flip=True),
    "rotation": Warp(degrees=-17.0),
    "translation": Warp(shift=(-15, 6)),
    "all": Warp(flip=True, degrees=11.0, shift=(4, -9), scale=0.4),
}


def seam(backbone, **options) -> Seam:
    return Seam(backbone, class_names(2), Settings(name="seam", **options))


class TinyBackbone(Backbone):
    """Three convolutions: stage outputs at strides 2, 4 and 8."""

    def __init__(self, widths: tuple[int, int, int] = (4, 6, 8)) -> None:
        super().__init__()
        pairs = zip((3, *widths), widths, strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.channels, self.stride = widths[-1], 8
        self.pyramid_channels, self.pyramid_strides = list(widths), [2, 4, 8]
        self.mean, self.std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.features_and_pyramid(images)[0]

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        pyramid = []
        for stage in self.stages:
            images = stage(images).relu()
            pyramid.append(images)
        return images, pyramid

    def freeze(self, stages: int) -> None:
        self.stages[:stages].requires_grad_(False)


def batch(size: int = 64, images: int = 2, classes: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = torch.ones(images, classes)
    labels[0, 0] = 0
    boxes = torch.tensor([[0, 0, size, size]] * images)
    return Batch(torch.randn(images, 3, size, size, generator=generator), labels, boxes)


def blocks() -> Tensor:
    """(1, 3, 120, 160): in each channel a block of 1 on 0, away from the border, and a smooth bump."""
    image = torch.zeros(1, 3, 120, 160)
    for channel, (top, left) in enumerate([(30, 40), (50, 70), (40, 90)]):
        image[0, channel, top : top + 30, left : left + 30] = 1
    rows, columns = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
    bump = torch.exp(-((rows - 85) ** 2 + (columns - 60) ** 2) / 200) * 0.7
    return torch.maximum(image, bump)


def er(net: nn.Module, warp: Warp) -> float:
    views = View(net(blocks())), View(net(warp(blocks())))
    return siamese_losses(*views, torch.ones(1, 2), warp)["er"].item()


@pytest.mark.parametrize("name", WARPS)
def test_equivariant_network_has_no_equivariance_loss(name):
    assert er(nn.Identity(), WARPS[name]) < 1e-6


@pytest.mark.parametrize("name", WARPS)
def test_network_that_knows_positions_has_equivariance_loss(name):
    class Stripes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * torch.sin(torch.arange(images.shape[-1]) / 10) ** 2

    assert er(Stripes(), WARPS[name]) > 5e-3


def test_borders_are_left_out():
    inside = WARPS["translation"].inside(blocks())
    assert not inside[-15:].any() and not inside[:, :6].any() and inside[:-15, 6:].all()
    assert WARPS["rotation"].inside(blocks()).float().mean() > 0.7
    assert WARPS["rescale"].inside(blocks()) is None and WARPS["flip"].inside(blocks()) is None


def test_rotation_is_counter_clockwise():
    square = torch.rand(1, 2, 17, 17)
    torch.testing.assert_close(rotate(square, 90), square.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    there_and_back = rotate(rotate(blocks()[:, :1] * 0 + 1, 30), -30)
    assert there_and_back[0, 0, 50:70, 70:90].min() > 0.999


def test_family_draws_within_its_ranges():
    family = WarpFamily(scale=(0.2, 0.6), flip=True, degrees=20, pixels=15)
    warps = [family.draw() for _ in range(300)]
    assert all(w.flip for w in warps)
    scales, angles = [w.scale for w in warps], [w.degrees for w in warps]
    shifts = [side for w in warps for side in w.shift]
    assert 0.2 <= min(scales) < 0.22 and 0.58 < max(scales) <= 0.6
    assert -20 <= min(angles) < -18 and 18 < max(angles) <= 20
    assert (min(shifts), max(shifts)) == (-15, 15)
    assert WarpFamily().draw() == Warp(scale=0.3)
    with pytest.raises(ValueError, match="lowest"):
        WarpFamily(scale=(0.6, 0.2))


def dense_correlation(seed: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """The formula, in the given precision, by autograd alone."""
    embedded = torch.einsum("ed,bdhw->behw", weight[:, :, 0, 0], features).flatten(2)
    unit = embedded / (embedded.norm(dim=1, keepdim=True) + 1e-5)
    affinity = torch.einsum("beq,bep->bqp", unit, unit).relu()
    affinity = affinity / (affinity.sum(1, keepdim=True) + 1e-5)
    return torch.einsum("bcq,bqp->bcp", seed.flatten(2), affinity).view_as(seed)


def test_pcm_and_its_gradient_match_the_dense_formula():
    generator = torch.Generator().manual_seed(1)
    seed = torch.rand(2, 3, 17, 19, generator=generator)  # 323 cells: more than one chunk of rows
    features = torch.randn(2, 5, 17, 19, generator=generator, requires_grad=True)
    weight = torch.randn(4, 5, 1, 1, generator=generator, requires_grad=True)
    exact = [t.detach().double().requires_grad_(t.requires_grad) for t in (seed, features, weight)]
    got, want = pixel_correlation(seed, features, weight), dense_correlation(*exact)
    torch.testing.assert_close(got, want.float(), atol=1e-6, rtol=1e-5)
    pull = torch.randn(got.shape, generator=generator)
    ours = torch.autograd.grad((got * pull).sum(), (features, weight))
    theirs = torch.autograd.grad((want * pull.double()).sum(), exact[1:])
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() / b.norm() < 1e-5


def test_pcm_keeps_a_constant_map():
    constant = torch.full((1, 3, 9, 11), 0.7)
    revised = pixel_correlation(constant, torch.randn(1, 5, 9, 11), torch.randn(4, 5, 1, 1))
    torch.testing.assert_close(revised, constant, atol=1e-5, rtol=0)


def terms(**switches) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return seam(TinyBackbone(), **switches).eval()(batch(), 0)


@pytest.mark.parametrize(
    ("switches", "removed"),
    [
        ({"er": False}, {"er"}),
        ({"ecr": False}, {"ecr"}),
        ({"min_pool": None}, {"min_pool"}),
        ({"pcm": False}, {"ecr", "min_pool"}),
    ],
)
def test_each_switch_removes_its_term_alone(switches, removed):
    everything, some = terms(), terms(**switches)
    assert everything.keys() == {"cls", "er", "ecr", "min_pool"}
    assert all(term.ndim == 0 and term > 0 for term in everything.values())
    assert everything.keys() - some.keys() == removed
    for name, term in some.items():
        torch.testing.assert_close(term, everything[name])


def test_without_er_and_pcm_it_is_the_cam_baseline():
    torch.manual_seed(3)
    model = seam(TinyBackbone(), er=False, pcm=False).eval()
    want = nn.functional.multilabel_soft_margin_loss(model.logits(batch().images), batch().labels)
    assert terms(er=False, pcm=False).keys() == {"cls"}
    torch.testing.assert_close(terms(er=False, pcm=False)["cls"], want)


def test_weights_scale_their_terms():
    doubled, plain = terms(er_weight=2.0, ecr_weight=3.0), terms()
    torch.testing.assert_close(doubled["er"], 2 * plain["er"])
    torch.testing.assert_close(doubled["ecr"], 3 * plain["ecr"])


def test_ohem_averages_the_hardest():
    seed, revised = torch.rand(2, 3, 10, 10), torch.rand(2, 3, 10, 10)
    losses = [cross_loss(seed, revised, hardest).item() for hardest in (0.1, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(cross_loss(seed, revised, None).item())
    with pytest.raises(ValueError, match="ohem"):
        seam(TinyBackbone(), ohem=1.5)


class Allocations(TorchDispatchMode):
    """Every storage that an operation returns, once."""

    def __init__(self) -> None:
        super().__init__()
        self.storages = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.storages[storage.data_ptr()] = (storage, storage.nbytes() // tensor.element_size())
        return out


def test_a_step_allocates_the_affinity_once_a_branch_and_nothing_larger():
    cells = 28**2
    model = seam(TinyBackbone(), rescale=(1.0, 1.0), flip=True)
    with Allocations() as seen:
        sum(model(batch(28 * 8), 0).values()).backward()
    sizes = sorted((n for _, n in seen.storages.values()), reverse=True)
    affinity = 2 * cells**2
    assert sizes[:2] == [affinity, affinity]
    assert sizes[2] < affinity / 2
    assert all(p.grad is not None for p in model.parameters())


def test_no_gradient_reaches_the_trunk_through_pcm():
    model = seam(TinyBackbone()).eval()
    view = model.view(batch().images)
    view.revised.square().sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.pcm.parameters())


def test_runs_on_a_timm_backbone():
    model = seam(TimmBackbone("test_resnet", output_stride=16), rescale=(0.5, 0.5)).eval()
    images = batch(96).images
    maps = model.activation_maps(images)
    assert maps.shape == (2, 2, 96, 96) and maps.min() >= 0
    assert model.logits(images).shape == (2, 2)
    assert sum(model(batch(96), 0).values()).isfinite()
    affinity = model.affinity_map(images, 40, 55)
    assert affinity.shape == (2, 6, 6)
    torch.testing.assert_close(affinity.sum((1, 2)), torch.ones(2), atol=1e-4, rtol=0)
    assert affinity[0, 2, 3] == affinity[0].max()  # the pixel's own cell, of 16 × 16 pixels
    heads = {id(p) for p in model.head_parameters()}
    assert heads == {id(p) for n, p in model.named_parameters() if not n.startswith("backbone.")}
