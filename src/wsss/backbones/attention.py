"""Transformer blocks of timm computed step by step: queries, keys, values, attention (Vaswani 2017, eq. 1).

For timm's `Block` with `Attention` (ViT, DeiT, CLIP, DINOv2) and `EvaBlock` with `EvaAttention` (DINOv3). T: tokens, P
of them before the patches; d: channels per head.
"""

from __future__ import annotations

import torch
from timm.layers import Attention
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn


def block_fault(block: nn.Module) -> str | None:
    """The type of a block that `block_with_attention` does not support; None if it does."""
    plain = type(block) is Block and type(block.attn) is Attention
    rotary = type(block) is EvaBlock and type(block.attn) is EvaAttention and block.attn.qkv is not None
    if plain or rotary:
        return None
    return f"{type(block).__name__} with {type(getattr(block, 'attn', None)).__name__}"


def block_with_attention(block: Block | EvaBlock, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A pre-norm block's output (B, T, D) and its attention (B, heads, T, T) after softmax, rows sum to 1."""
    return block_after_norm(block, x, block.norm1(x), rope)


def block_after_norm(
    block: Block | EvaBlock, x: Tensor, normed: Tensor, rope: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`block_with_attention`, given the output of the block's first norm, so that gradients can be taken there."""
    mixed, attention = _attend(block.attn, normed, rope)
    if isinstance(block, EvaBlock):
        x = x + block.drop_path1(_scaled(mixed, block.gamma_1))
        return x + block.drop_path2(_scaled(block.mlp(block.norm2(x)), block.gamma_2)), attention
    x = x + block.drop_path1(block.ls1(mixed))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x)))), attention


def queries_keys_values(layer: Attention | EvaAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v (B, heads, T, d) of normed tokens (B, T, D): before scale, q- and k-norm and rotation."""
    if isinstance(layer, EvaAttention) and layer.q_bias is not None:
        bias = torch.cat([layer.q_bias, layer.k_bias, layer.v_bias])
        joint = nn.functional.linear(x, layer.qkv.weight, bias)
    else:
        joint = layer.qkv(x)
    q, k, v = joint.unflatten(2, (3, layer.num_heads, layer.head_dim)).permute(2, 0, 3, 1, 4)
    return q, k, v


def _attend(layer: Attention | EvaAttention, x: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor]:
    """softmax(q·kᵀ/√d)·v with timm's weights, and the softmax before dropout."""
    q, k, v = queries_keys_values(layer, x)
    q, k = layer.q_norm(q), layer.k_norm(k)
    if rope is not None:
        q, k = (_rotated(t, rope, layer).type_as(v) for t in (q, k))
    attention = ((q * layer.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
    mixed = layer.norm((layer.attn_drop(attention) @ v).transpose(1, 2).flatten(2))
    if layer.gate is not None:
        mixed = mixed * layer.gate(x).sigmoid()
    return layer.proj_drop(layer.proj(mixed)), attention


def _rotated(heads: Tensor, rope: Tensor, layer: EvaAttention) -> Tensor:
    """Patch tokens rotated by their position, [sin, cos] (N, 2d); prefix tokens as they are."""
    prefix, patches = heads.split([layer.num_prefix_tokens, heads.shape[2] - layer.num_prefix_tokens], dim=2)
    return torch.cat([prefix, apply_rot_embed_cat(patches, rope, half=layer.rotate_half)], dim=2)


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else gamma * x
