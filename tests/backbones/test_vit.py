"""Tokens and attention of timm's vision transformers."""

from __future__ import annotations

import pytest
import torch

from wsss.backbones.stages import stage_channels, wanted_stages
from wsss.backbones.vit import ViTBackbone

NETWORKS = {
    "plain": ("test_vit", {}),
    "distilled": ("deit_tiny_distilled_patch16_224", {"depth": 2, "img_size": 64}),
    "hybrid": ("vit_tiny_r_s16_p8_224", {"depth": 2, "img_size": 96}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"depth": 2, "img_size": 56}),
    "stem": ("vit_tiny_patch16_224", {"depth": 2, "img_size": 64, "stem": {"name": "test_resnet", "output_stride": 8}}),
    "deit3": ("deit3_small_patch16_224", {"depth": 2, "img_size": 64}),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(kind: str) -> ViTBackbone:
    name, options = NETWORKS[kind]
    own = {key: value for key, value in options.items() if key == "stem"}
    return ViTBackbone(name, **own, options={k: v for k, v in options.items() if k not in own}).eval()


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_tokens_are_timms_at_the_native_size_with_and_without_explicit_attention(kind):
    backbone = build(kind)
    images = torch.randn(2, 3, *backbone.net.patch_embed.img_size)
    expected = backbone.net.forward_features(images)
    fused, explicit = backbone.tokens(images), backbone.tokens(images, attention=True)
    torch.testing.assert_close(fused.final, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(explicit.final, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_a_rectangular_image_of_any_size_is_covered_by_maps_and_attention(kind):
    backbone = build(kind)
    tokens = backbone.tokens(torch.randn(2, 3, 3 * backbone.stride + 1, 5 * backbone.stride - 2), attention=True)
    assert tokens.grid == (3, 5)
    assert tokens.final_map.shape == (2, backbone.channels, 3, 5)
    attention = tokens.mean_attention()
    assert attention.shape == (2, backbone.depth, 16, 16)
    for heads in tokens.attention:
        assert heads.shape[-1] == 15 + backbone.num_prefix
        torch.testing.assert_close(heads.sum(-1), torch.ones(heads.shape[:-1]))


@torch.no_grad()
def test_maps_are_row_major_and_skip_every_prefix_token():
    backbone = build("registers")
    tokens = backbone.tokens(torch.randn(1, 3, 28, 42), blocks=[-1, 0])
    offset = backbone.num_prefix + 1 * 3 + 2
    torch.testing.assert_close(tokens.final_map[0, :, 1, 2], tokens.final[0, offset])
    torch.testing.assert_close(backbone.net.norm(tokens.blocks[-1]), tokens.final)
    assert not torch.allclose(tokens.blocks[0], tokens.blocks[-1])


@pytest.mark.parametrize("kind", NETWORKS)
@torch.no_grad()
def test_keys_are_those_of_the_last_attention(kind):
    backbone, seen = build(kind), []
    backbone.net.blocks[-1].attn.qkv.register_forward_hook(lambda _layer, _tokens, joint: seen.append(joint))
    final, keys, last = wanted_stages(backbone, torch.randn(1, 3, 28, 42), ["final", "keys", -1])
    height, width = keys.shape[2:]
    expected = seen[-1][0, backbone.num_prefix :, backbone.channels : 2 * backbone.channels]
    torch.testing.assert_close(keys[0], expected.T.unflatten(1, (height, width)))
    assert final.shape == last.shape == keys.shape and stage_channels(backbone, "keys") == keys.shape[1]


def test_an_attention_map_under_no_grad_belongs_to_that_call():
    backbone = build("plain")
    first, second = torch.randn(2, 1, 3, 64, 64).unbind()
    with_graph = backbone.tokens(first, attention=True).mean_attention()
    with torch.no_grad():
        stale_candidate = backbone.tokens(second, attention=True).mean_attention()
        again = backbone.tokens(first, attention=True).mean_attention()
    assert not stale_candidate.requires_grad
    assert not torch.allclose(stale_candidate, with_graph)
    torch.testing.assert_close(again, with_graph)


def test_the_gradient_of_a_score_with_respect_to_attention_is_its_finite_difference():
    backbone = build("plain").double()
    images = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    tokens = backbone.tokens(images, blocks=[-2], attention=True)
    direction = torch.randn(backbone.channels, dtype=torch.float64)  # a layer norm's length would be constant
    (grad,) = torch.autograd.grad((tokens.class_token @ direction).sum(), tokens.attention[-1])
    block, x = backbone.net.blocks[-1], tokens.blocks[-2]

    def score(attention):
        layer = block.attn
        v = layer.qkv(block.norm1(x)).unflatten(2, (3, layer.num_heads, layer.head_dim))[:, :, 2].transpose(1, 2)
        y = x + layer.proj((attention @ v).transpose(1, 2).flatten(2))
        y = y + block.mlp(block.norm2(y))
        return (backbone.net.norm(y)[:, 0] @ direction).sum()

    attention, step = tokens.attention[-1].detach(), 1e-5
    nudge = torch.zeros_like(attention)
    nudge[0, 1, 0, 3] = step
    slope = (score(attention + nudge) - score(attention - nudge)) / (2 * step)
    assert slope.abs() > 1e-4
    torch.testing.assert_close(grad[0, 1, 0, 3], slope, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_positions_of_another_grid_are_interpolated_linearly_where_they_are_linear():
    """Half-pixel interpolation of a ramp is a ramp away from the border."""
    backbone = ViTBackbone("test_vit", position_interpolation="bilinear", options={"img_size": 128})
    ramp = torch.arange(8.0).repeat(8, 1).flatten()
    backbone.net.pos_embed[0, 1:] = ramp[:, None]
    row = backbone.positions((4, 16))[0, 1:, 0].unflatten(0, (4, 16))[2]
    torch.testing.assert_close(row[1:-1], torch.linspace(0.25, 6.75, 14))


def test_freeze_counts_quarters_of_the_depth():
    backbone = ViTBackbone("test_vit", options={"depth": 8})
    backbone.freeze(2)
    trained = {int(n.split(".")[2]) for n, p in backbone.named_parameters() if p.requires_grad and "blocks" in n}
    assert trained == {4, 5, 6, 7}
    assert not backbone.net.pos_embed.requires_grad
    assert backbone.net.norm.weight.requires_grad


def test_tokens_behind_a_cnn_are_its_cells():
    backbone = build("stem")
    assert backbone.stride == 8 and backbone.net.patch_embed.grid_size == (8, 8)
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    cells = backbone.net.patch_embed(images)
    last = backbone.net.patch_embed.backbone(images)
    torch.testing.assert_close(cells, backbone.net.patch_embed.proj(last).movedim(1, -1))
    with pytest.raises(ValueError, match="backbone 'no_such_cnn' is not known to timm"):
        ViTBackbone("test_vit", stem={"name": "no_such_cnn"})


@pytest.mark.parametrize("stem", [{"nme": "test_resnet"}, "test_resnet"])
def test_a_wrong_stem_is_one_line(stem):
    with pytest.raises(ValueError, match=r"backbone\.options\.stem is .*; accepted is"):
        ViTBackbone("test_vit", stem=stem)


def test_what_timm_refuses_beside_a_stem_is_said_briefly():
    with pytest.raises(ValueError, match="timm cannot build backbone 'test_vit'") as caught:
        ViTBackbone("test_vit", stem={"name": "test_resnet"}, options={"no_such_argument": 1})
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_net", "is not known to timm"),
        ("eva02_tiny_patch14_224", "is a Eva; accepted are"),
        ("vit_pwee_patch16_reg1_gap_256", "kind|class token"),
    ],
)
def test_a_network_without_plain_blocks_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        ViTBackbone(name)
