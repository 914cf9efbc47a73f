"""Mix Transformers: their attention logits against transformers' own attention, freezing, published names."""

import pytest
import torch
from torch.nn import functional as F

from wsss.backbones.mit import MiT, attention_logits
from wsss.backbones.mit_checkpoints import afa_state_dict, mit_state_dict

TINY = {"hidden_sizes": (8, 16, 24, 32), "depths": (1, 1, 1, 2), "num_attention_heads": (1, 2, 2, 4)}


@pytest.fixture
def mit():
    torch.manual_seed(0)
    return MiT("mit_b0", options=TINY).eval()


def images(seed, height=64, width=96):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_logits_give_transformers_attention_after_scaling_and_softmax(mit):
    mit.net.set_attn_implementation("eager")
    reference = mit.net(images(0), output_attentions=True, output_hidden_states=True)
    features, pyramid, logits = mit.with_attention(images(0), (-1, 3))
    for got, expected in zip(logits, (reference.attentions[-1], reference.attentions[3]), strict=True):
        scale = mit.net.stages[3].blocks[0].attention.scaling
        torch.testing.assert_close((got * scale).softmax(-1), expected)
    torch.testing.assert_close(pyramid[1], reference.hidden_states[1])
    torch.testing.assert_close(features, reference.last_hidden_state)


@torch.no_grad()
def test_attention_is_the_current_calls(mit):
    first = mit.with_attention(images(1), (-2, -1))[2]
    second = mit.with_attention(images(2), (-2, -1))[2]
    fresh = MiT("mit_b0", options=TINY).eval()
    fresh.load_state_dict(mit.state_dict())
    for a, b, expected in zip(first, second, fresh.with_attention(images(2), (-2, -1))[2], strict=True):
        assert not torch.allclose(a, b)
        torch.testing.assert_close(b, expected)


def test_logits_carry_gradient_to_queries_and_keys(mit):
    logits = mit.with_attention(images(0), (-1,))[2][0]
    logits.square().mean().backward()
    attention = mit.net.stages[3].blocks[1].attention
    assert attention.q_proj.weight.grad.abs().sum() > 0
    assert attention.k_proj.weight.grad.abs().sum() > 0
    assert attention.v_proj.weight.grad is None


@torch.no_grad()
def test_reduced_blocks_average_the_queries_of_each_window(mit):
    block, height, width, ratio = mit.net.stages[1].blocks[0], 8, 13, 4
    hidden = torch.randn(2, height * width, 16, generator=torch.Generator().manual_seed(3))
    normed = block.layernorm_before(hidden)
    q = block.attention.q_proj(normed).view(2, height * width, 2, 8).transpose(1, 2)
    k = block.attention.k_proj(block.attention.sequence_reduction(normed, height, width))
    full = q @ k.view(2, -1, 2, 8).permute(0, 2, 3, 1)  # (B, heads, N, N')
    windows = F.avg_pool2d(full.transpose(2, 3).reshape(2, -1, height, width), ratio)
    expected = windows.reshape(2, 2, full.shape[3], -1).transpose(2, 3)
    torch.testing.assert_close(attention_logits(block, hidden, height, width), expected)


@pytest.mark.parametrize("strides", [(4, 2, 2, 1), (4, 2, 2, 2)])
@torch.no_grad()
def test_declared_strides_and_channels_are_the_real_ones(strides):
    mit = MiT("mit_b0", strides=strides, options=TINY)
    features, pyramid = mit.features_and_pyramid(images(0, 128, 64))
    assert [stage.shape[1] for stage in pyramid] == mit.pyramid_channels
    assert [128 // stage.shape[2] for stage in pyramid] == mit.pyramid_strides
    assert features.shape == (2, mit.channels, 128 // mit.stride, 64 // mit.stride)


def test_freezing(mit):
    mit.freeze(0)
    frozen = {name for name, parameter in mit.named_parameters() if not parameter.requires_grad}
    assert frozen == {n for n, _ in mit.named_parameters() if n.startswith("net.stages.0.patch_embeddings")}
    mit.freeze(1)
    assert not any(p.requires_grad for p in mit.net.stages[0].parameters())
    assert all(p.requires_grad for p in mit.net.stages[1].parameters())
    mit.freeze_norms()
    frozen = {name for name, parameter in mit.net.stages[1:].named_parameters() if not parameter.requires_grad}
    assert frozen == {n for n, _ in mit.net.stages[1:].named_parameters() if "layer_norm" in n or "layernorm" in n}


def test_published_names():
    kv = torch.arange(8.0).view(4, 2)
    state = mit_state_dict({"block3.17.attn.kv.weight": kv, "norm4.bias": kv[0], "head.weight": kv})
    attention = "net.stages.2.blocks.17.attention"
    assert set(state) == {
        f"{attention}.k_proj.weight",
        f"{attention}.v_proj.weight",
        "net.stages.3.layer_norm.bias",
    }
    assert state[f"{attention}.k_proj.weight"].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match=r"block1\.0\.attn\.qkv\.weight"):
        mit_state_dict({"block1.0.attn.qkv.weight": kv})
    with pytest.raises(ValueError, match=r"fc8\.weight"):
        afa_state_dict({"fc8.weight": kv})


def test_errors_say_what_is_accepted(mit):
    with pytest.raises(ValueError, match="mit_b5"):
        MiT("mit_b9")
    with pytest.raises(ValueError, match="hidden_sizes"):
        MiT("mit_b0", options={"widths": (8, 16, 24, 32)})
    with pytest.raises(ValueError, match="four"):
        MiT("mit_b0", strides=(4, 2, 2))
    with pytest.raises(ValueError, match="32 or more"):
        mit(torch.zeros(1, 3, 24, 64))
    with pytest.raises(IndexError):
        mit.with_attention(images(0), (5,))


def test_behind_a_cnn_its_features_are_embedded():
    torch.manual_seed(0)
    stem = {"name": "test_resnet", "output_stride": 8}
    whole = MiT("mit_b0", strides=(1, 1, 2, 1), stem=stem, options=TINY | {"sr_ratios": (1, 1, 1, 1)}).eval()
    assert whole.stride == 16 and whole.pyramid_strides == [8, 8, 16, 16]
    whole.freeze(0)
    assert not any(p.requires_grad for p in whole.stem.parameters())
    features, pyramid, attention = whole.with_attention(images(0), (-1,))
    assert features.shape == (2, 32, 4, 6) and pyramid[0].shape == (2, 8, 8, 12) and attention[0].shape[-1] == 24
    torch.testing.assert_close(whole.net(whole.stem(images(0))).last_hidden_state, features)
