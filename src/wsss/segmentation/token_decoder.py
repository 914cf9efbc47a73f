"""A decoder on the tokens of a frozen transformer's blocks (WeCLIP; Zhang et al. 2024, §3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from timm.layers import QuickGELU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from wsss.backbones.rules import Rules
from wsss.backbones.tokens import TransformerBackbone


class OnFrozen(nn.Module):
    """A module with a frozen `encoder`, which has no gradients and stays in eval mode."""

    encoder: TransformerBackbone

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.eval()
        return self

    def block_maps(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """The blocks' patch tokens, each (B, channels, h, w), for normalised images (B, 3, H, W)."""
        with torch.no_grad():
            tokens = self.encoder.tokens(images, blocks=blocks)
        return [tokens.block_map(block) for block in blocks]


def require_blocks(backbone: TransformerBackbone, blocks: Sequence[int], what: str) -> None:
    """Raises ValueError for blocks that a transformer does not have."""
    if wrong := [block for block in blocks if not -backbone.depth <= block < backbone.depth]:
        raise ValueError(f"{what} {wrong} do not exist; this transformer has {backbone.depth} blocks")


class TokenFuse(nn.Module):
    """Patch tokens of several blocks → one map: an MLP per block, fused by a 1×1 convolution.

    Args:
        blocks: their number. channels: of the tokens. width: of the fused features.
    """

    def __init__(self, blocks: int, channels: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(blocks)
        )
        self.join = nn.Conv2d(blocks * width, width, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """Fused features (B, width, h, w) of the blocks' patch tokens, each (B, channels, h, w)."""
        if len(tokens) != len(self.mlps):
            raise ValueError(f"tokens of {len(tokens)} blocks given; this decoder takes {len(self.mlps)}")
        maps = [mlp(t.movedim(1, -1)).movedim(-1, 1) for mlp, t in zip(self.mlps, tokens, strict=True)]
        return self.dropout(self.join(torch.cat(maps, dim=1)))


class HalfLinear(nn.Linear):
    """A linear layer computed in float16, as the output projection of attention in WeCLIP's published code."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.half(), self.weight.half(), self.bias.half()).to(x.dtype)


class TokenDecoder(nn.Module):
    """Fused features (B, width, h, w) → logits (B, C, h, w): pre-norm blocks without positions, then 1×1.

    half_projection: compute the output projections of attention in float16.
    """

    def __init__(self, num_classes: int, width: int, layers: int, heads: int, half_projection: bool = False) -> None:
        super().__init__()
        block = {"qkv_bias": True, "act_layer": QuickGELU, "norm_layer": nn.LayerNorm}
        self.blocks = nn.ModuleList(Block(width, heads, **block) for _ in range(layers))
        for made in self.blocks if half_projection else ():
            made.attn.proj = HalfLinear(width, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        x = features.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.transpose(1, 2).unflatten(2, features.shape[2:]))


class TokenHead(nn.Module):
    """`TokenFuse` and `TokenDecoder` together, the trained part of WeCLIP."""

    def __init__(
        self,
        blocks: int,
        channels: int,
        num_classes: int,
        width: int,
        layers: int,
        heads: int,
        half_projection: bool = False,
    ) -> None:
        super().__init__()
        self.fuse = TokenFuse(blocks, channels, width)
        self.decoder = TokenDecoder(num_classes, width, layers, heads, half_projection)

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        return self.decoder(self.fuse(tokens))


def cell_affinity(features: Tensor) -> Tensor:
    """sigmoid(fᵀf) of features (B, D, h, w) between cells: (B, N, N)."""
    flat = features.flatten(2)
    return (flat.transpose(1, 2) @ flat).sigmoid()


_BLOCK = r"decoder\.transformer\.resblocks\.(\d+)\."
TOKEN_HEAD_NAMES: Rules = (
    (r"decoder_fts_fuse\.linears_modulelist\.(\d+)\.proj\.", r"fuse.mlps.\1.0."),
    (r"decoder_fts_fuse\.linears_modulelist\.(\d+)\.proj_2\.", r"fuse.mlps.\1.2."),
    (r"decoder_fts_fuse\.linear_fuse\.", "fuse.join."),
    (_BLOCK + r"attn\.in_proj_", r"decoder.blocks.\1.attn.qkv."),
    (_BLOCK + r"attn\.out_proj\.", r"decoder.blocks.\1.attn.proj."),
    (_BLOCK + r"ln_(\d)\.", r"decoder.blocks.\1.norm\2."),
    (_BLOCK + r"mlp\.c_fc\.", r"decoder.blocks.\1.mlp.fc1."),
    (_BLOCK + r"mlp\.c_proj\.", r"decoder.blocks.\1.mlp.fc2."),
    (r"decoder\.linear_pred\.", "decoder.head."),
    (r"(encoder|dino_encoder|par)\.", None),
)
"""Rules from WeCLIP's published names to `TokenHead`'s; the frozen towers and PAR's kernel are dropped."""
