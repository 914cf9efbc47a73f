"""What kind of transformer a state dict holds, in words, for messages about files of another network."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def anatomy(state: Mapping[str, Tensor]) -> str:
    """A transformer's kind and sizes, by this package's names; of another network, that it is one."""
    own = {name.rpartition("net.")[2]: tensor for name, tensor in state.items()}
    if "patch_embed.proj.weight" not in own or own["patch_embed.proj.weight"].ndim != 4:
        return "no image tower that is a ViT" if "token_embedding.weight" in state else "another kind of network"
    width, _, patch, _ = own["patch_embed.proj.weight"].shape
    depth = len({found[1] for name in own if (found := re.match(r"blocks\.(\d+)\.", name))})
    registers = own["reg_token"].shape[1] if "reg_token" in own else 0
    cells = own["pos_embed"].shape[1] if "pos_embed" in own else 0
    positions = f", {cells} positions" if cells else ""
    return f"{_kind(own)} of patch {patch}, width {width}, {depth} blocks, {registers} registers{positions}"


def _kind(names: Mapping[str, object]) -> str:
    if "norm_pre.weight" in names:
        return "a CLIP"
    if "blocks.0.gamma_1" in names:
        return "a DINOv3"
    return "a DINOv2" if "blocks.0.ls1.gamma" in names else "a ViT"
