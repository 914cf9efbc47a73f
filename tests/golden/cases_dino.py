"""DINOv2 from timm and from its hub, DINOv3: features, positions, q/k/v and attention."""

from __future__ import annotations

from typing import Any

import torch
from compare import Adapter, Arrays, Tolerance
from formula import formula_state_dict, meta_shapes

from wsss.backbones.checkpoints import load_published
from wsss.backbones.eva import EvaBackbone
from wsss.backbones.vit import ViTBackbone


def dinov2(name: str, meta: dict[str, Any], key: str, rule: str, table: tuple[str, ...] = ()) -> ViTBackbone:
    p, shapes = meta["params"], meta_shapes({"state_dict": meta[key]})
    side = round((shapes["pos_embed"][0][1] - 1) ** 0.5) * p["patch_size"]
    options = {"embed_dim": p["embed_dim"], "depth": p["depth"], "num_heads": p["num_heads"], "img_size": side}
    backbone = ViTBackbone(name, position_interpolation=rule, options=options)
    load_published(backbone, formula_state_dict(shapes))
    return backbone.eval()


@torch.no_grad()
def features(backbone: ViTBackbone, image: torch.Tensor) -> Arrays:
    """Everything the cases hold of one network."""
    tokens = backbone.tokens(image, attention=True)
    embedded = backbone.embed(image)
    q, k, v = backbone.queries_keys_values(backbone.run(embedded, 0, backbone.depth - 1))
    own = 0 if backbone.net.no_embed_class else backbone.num_prefix
    found = {
        "patch": tokens.final_map,
        "cls": tokens.class_token,
        "q": q,
        "k": k,
        "v": v,
        "attn": tokens.attention[-1],
        "pos": backbone.positions(tokens.grid)[:, own:],
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


def some(arrays: Arrays, suffix: str) -> Arrays:
    return {f"{name}{suffix}": arrays[name] for name in ("patch", "pos")}


def dinov2_timm(x: Arrays, meta: dict[str, Any]) -> Arrays:
    image, name = torch.from_numpy(x["image"]), "vit_small_patch14_dinov2"
    found = features(dinov2(name, meta, "state_dict", "antialias"), image)
    return found | some(features(dinov2(name, meta, "state_dict_up", "antialias"), image), "_up")


def dinov2_hub(x: Arrays, meta: dict[str, Any]) -> Arrays:
    image, name = torch.from_numpy(x["image"]), "vit_small_patch14_dinov2"
    found = features(dinov2(name, meta, "state_dict", "hub"), image)
    found |= some(features(dinov2(name, meta, "state_dict_up", "hub"), image), "_up")
    registers = dinov2("vit_small_patch14_reg4_dinov2", meta, "state_dict_reg", "antialias")
    return found | some(features(registers, image), "_reg")


@torch.no_grad()
def dinov3_timm(x: Arrays, meta: dict[str, Any]) -> Arrays:
    p, image = meta["params"], torch.from_numpy(x["image"])
    options = {name: p[name] for name in ("embed_dim", "depth", "num_heads")}
    backbone = EvaBackbone("vit_small_patch16_dinov3", options=options).eval()
    load_published(backbone, formula_state_dict(meta_shapes(meta)))
    tokens, embedded = backbone.tokens(image), backbone.embed(image)
    qkv = backbone.queries_keys_values(backbone.run(embedded, 0, backbone.depth - 1))
    return {
        "patch": tokens.final_map.numpy(),
        "cls": tokens.class_token.numpy(),
        "registers": tokens.final[:, 1 : tokens.num_prefix].numpy(),
        "rope": embedded.rope.numpy(),
        "qkv_last": torch.cat([t.transpose(1, 2).flatten(2) for t in qkv], dim=2).numpy(),
    }


_POSITIONS = dict.fromkeys(("pos", "pos_up", "pos_reg"), Tolerance(rtol=1e-5, atol=1e-7))
_NET = Tolerance(rtol=1e-4, atol=1e-4, own=_POSITIONS | {"rope": Tolerance(rtol=1e-5, atol=1e-6)})
CASES: dict[str, Adapter] = {"dinov2_timm": dinov2_timm, "dinov2_hub": dinov2_hub, "dinov3_timm": dinov3_timm}
TOLERANCES: dict[str, Tolerance] = dict.fromkeys(CASES, _NET)
