"""CLIP's and DINO's published names, and the interface that their transformers share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wsss.backbones.checkpoints import load_published, read_state_dict
from wsss.backbones.clip import CLIPBackbone
from wsss.backbones.clip_checkpoints import clip_state_dict
from wsss.backbones.eva import EvaBackbone
from wsss.backbones.vit import ViTBackbone

KEYS = Path(__file__).parents[1] / "golden" / "data"
TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}


def published(name):
    keys = json.loads((KEYS / f"keys_{name}.json").read_text())["keys"]
    return {key: torch.zeros(entry["shape"]) for key, entry in keys.items()}, keys


def tiny_clip():
    return CLIPBackbone("vit_base_patch16_clip_quickgelu_224", projection=10, options=TINY)


def openai_state(backbone):
    """The tower's weights under OpenAI's names."""
    state = {}
    swaps = (
        ("net.blocks.", "visual.transformer.resblocks."),
        ("attn.qkv.", "attn.in_proj_"),
        ("attn.proj.", "attn.out_proj."),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("net.norm_pre", "visual.ln_pre"),
        ("net.norm", "visual.ln_post"),
        (".norm1", ".ln_1"),
        (".norm2", ".ln_2"),
        ("net.patch_embed.proj", "visual.conv1"),
        ("net.cls_token", "visual.class_embedding"),
        ("net.pos_embed", "visual.positional_embedding"),
    )
    for name, tensor in backbone.state_dict().items():
        if name == "projection.weight":
            state["visual.proj"] = tensor.T
            continue
        for ours, theirs in swaps:
            name = name.replace(ours, theirs)
        state[name] = tensor.flatten() if "class_emb" in name else tensor[0] if "visual.pos" in name else tensor
    return state


def test_clips_published_names_and_transformers_names_are_the_whole_tower():
    state, keys = published("clip_vitb16")
    backbone = CLIPBackbone("vit_base_patch16_clip_quickgelu_224")
    load_published(backbone, state)
    renamed = {}
    for name, entry in keys.items():
        theirs, tensor = entry["transformers"], state[name]
        parts = tensor.chunk(len(theirs)) if len(theirs) > 1 else [tensor]
        if theirs[0].endswith(("visual_projection.weight", "text_projection.weight")):
            parts = [tensor.T]
        renamed |= dict(zip(theirs, parts, strict=True))
    assert {k: v.shape for k, v in clip_state_dict(renamed).items()} == {
        k: v.shape for k, v in backbone.state_dict().items()
    }


@pytest.mark.parametrize("size", ["small", "base"])
def test_dinov2s_hub_names_are_the_whole_network(size):
    state, _ = published(f"dinov2_vit{size[0]}14")
    load_published(ViTBackbone(f"vit_{size}_patch14_dinov2"), state)


def test_a_torchscript_archive_in_half_precision_loads(tmp_path):
    backbone = tiny_clip()

    class Holder(torch.nn.Module):
        def forward(self, x):
            return x

    holder = Holder()
    for name, tensor in openai_state(backbone).items():
        at = holder
        *path, last = name.split(".")
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, Holder())
            at = getattr(at, part)
        at.register_buffer(last, tensor.half())
    torch.jit.script(holder).save(tmp_path / "ViT.pt")
    other = tiny_clip()
    load_published(other, read_state_dict(tmp_path / "ViT.pt"))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor.half().float()), name


def test_a_text_tower_alone_is_no_image_tower():
    with pytest.raises(ValueError, match="no image tower"):
        load_published(tiny_clip(), {"positional_embedding": torch.zeros(77, 4)}, "clip")


@pytest.mark.parametrize("kind", ["vit", "eva"])
def test_a_rerun_of_the_last_block_is_the_whole_pass(kind):
    if kind == "vit":
        backbone = ViTBackbone("vit_small_patch14_reg4_dinov2", options=TINY | {"patch_size": 14, "img_size": 28})
    else:
        backbone = EvaBackbone(
            "vit_small_patch16_dinov3", options={k: TINY[k] for k in ("embed_dim", "depth")} | {"num_heads": 2}
        )
    backbone.eval()
    images = torch.randn(2, 3, 50, 66)
    with torch.no_grad():
        whole = backbone.tokens(images)
        maps = []
        last = backbone.run(backbone.embed(images), 0, backbone.depth - 1)
        again = backbone.run(last, backbone.depth - 1, backbone.depth, lambda _i, a: maps.append(a))
    torch.testing.assert_close(backbone.net.norm(again.x), whole.final)
    torch.testing.assert_close(maps[0].sum(-1), torch.ones_like(maps[0][..., 0]))
    assert backbone.num_prefix == 5
