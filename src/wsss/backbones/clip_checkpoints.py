"""CLIP checkpoints of OpenAI, open_clip and transformers, and extraction of the image tower."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wsss.backbones.rules import Rules, rename

_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."
_IMAGE: Rules = (
    (r"visual\.class_embedding$", "net.cls_token"),
    (r"visual\.positional_embedding$", "net.pos_embed"),
    (r"visual\.proj$", "projection.weight"),
    (r"visual\.conv1\.", "net.patch_embed.proj."),
    (r"visual\.ln_pre\.", "net.norm_pre."),
    (r"visual\.ln_post\.", "net.norm."),
    (_BLOCK + r"attn\.in_proj_", r"net.blocks.\1.attn.qkv."),
    (_BLOCK + r"attn\.out_proj\.", r"net.blocks.\1.attn.proj."),
    (_BLOCK + r"ln_(\d)\.", r"net.blocks.\1.norm\2."),
    (_BLOCK + r"mlp\.c_fc\.", r"net.blocks.\1.mlp.fc1."),
    (_BLOCK + r"mlp\.c_proj\.", r"net.blocks.\1.mlp.fc2."),
    (r"(?!visual\.)", None),
)
"""Rules from OpenAI's names to `CLIPBackbone`'s; the text tower and the temperature are dropped."""


def is_clip(names: Mapping[str, object] | set[str]) -> bool:
    """Whether these are names of a CLIP, or of one of its towers."""
    return bool({"visual.class_embedding", "vision_model.embeddings.class_embedding"} & set(names))


def clip_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower for `CLIPBackbone`, from a state dict of OpenAI, open_clip or transformers.

    Raises:
        ValueError: the state dict has no image tower.
    """
    renamed = rename(openai_names(state), _IMAGE)
    if missing := {"net.cls_token", "net.pos_embed", "projection.weight"} - renamed.keys():
        raise ValueError(f"the checkpoint holds no image tower of CLIP; it lacks {sorted(missing)}")
    renamed["net.cls_token"] = renamed["net.cls_token"].view(1, 1, -1)
    renamed["net.pos_embed"] = renamed["net.pos_embed"][None]
    renamed["projection.weight"] = renamed["projection.weight"].T.contiguous()
    return renamed


_TRANSFORMERS = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)


def openai_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of transformers' CLIPModel under OpenAI's names; any other unchanged.

    q, k and v are concatenated; both projections are transposed.
    """
    if not any(name.startswith(("vision_model.", "text_model.")) for name in state):
        return dict(state)
    renamed = {}
    for name, tensor in state.items():
        if name.endswith("position_ids") or ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            if lost := next((part for part in "kv" if name.replace("q_proj", f"{part}_proj") not in state), None):
                raise ValueError(f"the checkpoint has {name}, and lacks that of {lost}")
            tensor = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            name = name.replace("self_attn.q_proj.", "attn.in_proj_")
        if name in ("visual_projection.weight", "text_projection.weight"):
            name, tensor = ("visual.proj" if name.startswith("visual") else "text_projection"), tensor.T
        for theirs, openai in _TRANSFORMERS:
            name = name.replace(theirs, openai)
        renamed[name] = tensor
    return renamed
