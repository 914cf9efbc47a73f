"""ACR: mirror consistency on rectangular grids, gradient localisation without stale state."""

from __future__ import annotations

import pytest
import torch

from names import class_names
from wsss.backbones.vit import ViTBackbone
from wsss.data.batch import Batch
from wsss.localise.fusion import fuse
from wsss.methods.acr.network import (
    ACR,
    consistency_losses,
    unflip_class_rows,
    unflip_patch_blocks,
)
from wsss.methods.acr.settings import Settings

K = 4
SIZE = (32, 48)  # a grid of 2 × 3
LABELS = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**options) -> ACR:
    return ACR(ViTBackbone("test_vit"), class_names(K), Settings(name="acr", **options)).eval()


@torch.no_grad()
def make_equivariant(model: ACR) -> ACR:
    """Mirror-symmetric patch kernels and no positions: mirroring the image permutes the tokens."""
    net = model.backbone.net
    net.patch_embed.proj.weight.add_(net.patch_embed.proj.weight.flip(-1))
    net.pos_embed[:, 1:] = 0
    for block in net.blocks:  # attention far from uniform
        block.attn.qkv.weight.mul_(20)
    return model


def batch() -> Batch:
    return Batch(torch.randn(2, 3, *SIZE), LABELS, torch.tensor([[0, 32, 0, 48]] * 2))


def test_the_loss_is_zero_for_an_equivariant_network_on_a_2_by_3_grid():
    model, item = make_equivariant(tiny()).double(), batch()
    item.images = item.images.double()
    losses = model(item, 0)
    assert losses["class_rows"] < 1e-9 and losses["patch_pairs"] < 1e-9
    torch.testing.assert_close(losses["cls"], losses["cls_mirror"])

    with torch.no_grad():
        model.backbone.net.pos_embed.normal_()
    losses = model(item, 0)
    assert losses["class_rows"] > 1e-2 and losses["patch_pairs"] > 1e-2


@pytest.mark.parametrize("term", ["class_rows", "patch_pairs"])
def test_a_term_that_is_switched_off_changes_no_other(term):
    item = batch()
    torch.manual_seed(1)
    whole = tiny()(item, 0)
    torch.manual_seed(1)
    rest = tiny(**{term: False})(item, 0)
    assert term in whole and rest == {name: value for name, value in whole.items() if name != term}


def test_unflipping_moves_every_pair_of_patches_to_its_mirrored_place():
    h, w = 2, 3
    attention = torch.rand(1, 1, 1 + h * w, 1 + h * w)
    rows, pairs = unflip_class_rows(attention, (h, w)), unflip_patch_blocks(attention, (h, w))

    def mirrored(i: int) -> int:
        return i // w * w + w - 1 - i % w

    for i in range(h * w):
        assert rows[0, 0, 0, i] == attention[0, 0, 0, 1 + mirrored(i)]
        for j in range(h * w):
            assert pairs[0, 0, i, j] == attention[0, 0, 1 + mirrored(i), 1 + mirrored(j)]


def test_consistency_leaves_out_the_patches_attention_to_the_class_token():
    image = torch.rand(2, 3, 7, 7)
    mirror = image.clone()
    mirror[:, :, :1, 1:] = unflip_class_rows(image, (2, 3))
    mirror[:, :, 1:, 1:] = unflip_patch_blocks(image, (2, 3))
    mirror[:, :, :, 0] = 9.0
    assert consistency_losses(image, mirror, (2, 3)) == (0, 0)
    rows, pairs = consistency_losses(image, mirror, (3, 2))
    assert rows > 0.1 and pairs > 0.1


def test_a_training_step_gives_every_trained_parameter_a_finite_gradient():
    model = tiny().train()
    losses = model(batch(), 0)
    assert list(losses) == ["cls", "cls_mirror", "class_rows", "patch_pairs"]
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("mode", ["grad", "grad_s", "cam_grad", "cam_grad_s"])
def test_maps_are_the_calls_own_whatever_the_grad_mode_and_what_is_frozen(mode):
    model, images = tiny(gradient_mode=mode, start_layer=1), torch.randn(2, 3, *SIZE)
    expected = model.activation_maps(images)
    assert expected.shape == (2, K, 2, 3) and expected.min() >= 0 and expected.max() > 0
    assert not expected.requires_grad
    with torch.no_grad():
        model.activation_maps(images.flip(0) + 1)
        torch.testing.assert_close(model.activation_maps(images), expected)
    with torch.inference_mode():
        torch.testing.assert_close(model.activation_maps(images.clone()), expected)
    model.requires_grad_(False)
    torch.testing.assert_close(model.activation_maps(images), expected)
    assert all(p.grad is None for p in model.parameters())


def test_maps_of_an_image_depend_on_neither_the_batch_nor_absent_classes():
    model, images = tiny(), torch.randn(2, 3, *SIZE)
    maps = model.activation_maps(images)
    torch.testing.assert_close(model.activation_maps(images[1:]), maps[1:])
    some = model.activation_maps(images, LABELS)
    torch.testing.assert_close(some[:, [0, 1, 3]], maps[:, [0, 1, 3]])
    assert (some[:, 2] == 0).all() and (maps[:, 2] > 0).any()


@pytest.mark.parametrize("options", [{}, {"refine": False}, {"localisation": "patch"}])
def test_the_map_of_the_mirror_is_the_mirrored_map_of_an_equivariant_network(options):
    model, images = make_equivariant(tiny(**options)).double(), torch.randn(2, 3, *SIZE).double()
    maps = model.activation_maps(images)
    torch.testing.assert_close(model.activation_maps(images.flip(-1)), maps.flip(-1))
    assert not torch.allclose(maps, maps.flip(-1))
    fused = fuse([torch.stack([maps[0], maps[0].flip(-1)])], torch.ones(K, dtype=torch.bool), SIZE, "acr")
    assert fused.shape == (K, *SIZE) and fused.min() == 0 and fused.max() < 1


def test_register_tokens_take_no_part_in_rows_and_maps():
    backbone = ViTBackbone("vit_small_patch14_reg4_dinov2", options={"depth": 2, "img_size": 42})
    model = ACR(backbone, class_names(K), Settings(name="acr", start_layer=0)).eval()
    images = torch.randn(1, 3, 28, 42)
    assert model.activation_maps(images).shape == (1, K, 2, 3)
    assert model.tokens(images).mean_attention().shape == (1, 2, 7, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"localisation": "cam"}, "Input should be 'gradient' or 'patch'"),
        ({"gradient_mode": "max"}, "Input should be 'grad', 'grad_s'"),
        ({"start_layer": 6}, "start_layer is 6; the backbone has 6 blocks"),
    ],
)
def test_a_mistake_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_a_step_and_maps_in_half_precision_are_close_to_full_precision():
    model, item = tiny(), batch()
    full, maps = model(item, 0), model.activation_maps(item.images)
    with torch.autocast("cpu", torch.bfloat16):
        half, half_maps = model(item, 0), model.activation_maps(item.images)
    for name in ("cls", "cls_mirror"):
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.05), name
    assert (half_maps - maps).abs().mean() < 0.2 * maps.mean()
