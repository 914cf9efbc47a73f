"""DINOv2's and DINOv3's published files under the names of `ViTBackbone` and `EvaBackbone`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from wsss.backbones.rules import Rules, rename

_V2: Rules = (
    (r"mask_token$", None),
    (r"register_tokens$", "net.reg_token"),
    (r"(blocks\.\d+\.mlp)\.w12\.", r"net.\1.fc1."),
    (r"(blocks\.\d+\.mlp)\.w3\.", r"net.\1.fc2."),
    (r"(?=.)", "net."),
)
_V3: Rules = (
    (r"(mask_token$|rope_embed\.|local_cls_norm|blocks\.\d+\.attn\.qkv\.bias_mask$)", None),
    (r"storage_tokens$", "net.reg_token"),
    (r"(blocks\.\d+)\.ls(\d)\.gamma$", r"net.\1.gamma_\2"),
    (r"(?=.)", "net."),
)


def dino_layout(names: Iterable[str]) -> str | None:
    """`dinov2` or `dinov3` for names of the authors' files; None for others, such as timm's."""
    names = set(names)
    if "storage_tokens" in names:
        return "dinov3"
    return "dinov2" if {"mask_token", "pos_embed", "blocks.0.ls1.gamma"} <= names else None


def dinov2_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `ViTBackbone`; with registers, the class token's position is added to it, as in timm."""
    renamed = rename(state, _V2)
    if "net.reg_token" in renamed:
        positions = renamed["net.pos_embed"]
        renamed["net.cls_token"] = renamed["net.cls_token"] + positions[:, :1]
        renamed["net.pos_embed"] = positions[:, 1:]
    return renamed


def dinov3_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `EvaBackbone`; periods are timm's, and biases of q, k and v, 0 in most sizes, are then dropped."""
    renamed = rename(state, _V3)
    for name in [n for n in renamed if re.search(r"attn\.qkv\.bias$", n)]:
        query, _key, value = renamed.pop(name).chunk(3)  # the key's is masked: always 0
        if query.any() or value.any():
            prefix = name.removesuffix("qkv.bias")
            renamed |= {f"{prefix}q_bias": query, f"{prefix}v_bias": value}
    return renamed
