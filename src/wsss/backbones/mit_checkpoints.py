"""Published Mix Transformer weights, NVlabs' ImageNet files and AFA's checkpoints, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_NAME = re.compile(r"(patch_embed|block|norm)(\d)\.(?:(\d+)\.)?(?:(.+)\.)?(weight|bias)")
_FUSED = re.compile(r"block(\d)\.(\d+)\.attn\.kv\.(weight|bias)")
_PATCH_EMBED = {"proj": "proj", "norm": "layer_norm"}
_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.q": "attention.q_proj",
    "attn.proj": "attention.o_proj",
    "attn.sr": "attention.sequence_reduction.sequence_reduction",
    "attn.norm": "attention.sequence_reduction.layer_norm",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
}


def mit_state_dict(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `MiT` from NVlabs' names; the ImageNet classifier (`head.*`) is dropped.

    Raises:
        ValueError: a name that no Mix Transformer has.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if name.startswith("head."):
            continue
        if match := _FUSED.fullmatch(name):
            attention = f"net.stages.{int(match[1]) - 1}.blocks.{match[2]}.attention"
            key, value = tensor.chunk(2)  # fused in this order
            state |= {f"{attention}.k_proj.{match[3]}": key, f"{attention}.v_proj.{match[3]}": value}
        else:
            state[_mit_name(name)] = tensor
    return state


def afa_state_dict(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `wsss.methods.afa.network.AFA` from a checkpoint of the published AFA (`WeTr`).

    Raises:
        ValueError: a name that the published network does not have.
    """
    state: dict[str, Tensor] = {}
    encoder: dict[str, Tensor] = {}
    for name, tensor in published.items():
        part, _, rest = name.partition(".")
        if part == "encoder":
            encoder[rest] = tensor
        elif part == "attn_proj":
            state[f"affinity.{rest}"] = tensor
        elif part in ("decoder", "classifier"):
            state[name] = tensor
        else:
            accepted = "encoder.*, decoder.*, attn_proj.*, classifier.*"
            raise ValueError(f"'{name}' is no parameter of AFA; accepted: {accepted}")
    return state | {f"backbone.{name}": tensor for name, tensor in mit_state_dict(encoder).items()}


def _mit_name(name: str) -> str:
    """`block3.1.attn.q.weight` → `net.stages.2.blocks.1.attention.q_proj.weight`."""
    match = _NAME.fullmatch(name)
    if match:
        kind, stage, block, module, parameter = match.groups()
        prefix = f"net.stages.{int(stage) - 1}"
        if kind == "norm" and block is None and module is None:
            return f"{prefix}.layer_norm.{parameter}"
        if kind == "patch_embed" and block is None and module in _PATCH_EMBED:
            return f"{prefix}.patch_embeddings.{_PATCH_EMBED[module]}.{parameter}"
        if kind == "block" and block is not None and module in _BLOCK:
            return f"{prefix}.blocks.{block}.{_BLOCK[module]}.{parameter}"
    raise ValueError(f"'{name}' is no parameter of a Mix Transformer (patch_embed*, block*, norm*, head)")
