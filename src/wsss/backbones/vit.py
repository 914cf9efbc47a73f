"""Plain vision transformers of timm, with the tokens and the attention of every block (Dosovitskiy 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Attention, resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wsss.backbones.base import Backbone
from wsss.backbones.std_conv import use_sigma_std_conv
from wsss.backbones.timm import build_stem, create_network


@dataclass(frozen=True)
class Tokens:
    """What one pass through a transformer leaves: P prefix tokens, class token first, and N = h·w patches.

    final: (B, P+N, D), the last block's output after the final norm.
    grid: (h, w) of the patches, row-major.
    num_prefix: P; distillation and register tokens follow the class token.
    blocks: block index (from 0) -> (B, P+N, D), that block's output before any final norm.
    attention: one per block, (B, heads, P+N, P+N) after softmax, rows sum to 1; empty unless asked for.
    """

    final: Tensor
    grid: tuple[int, int]
    num_prefix: int
    blocks: dict[int, Tensor] = field(default_factory=dict)
    attention: list[Tensor] = field(default_factory=list)

    @property
    def class_token(self) -> Tensor:
        """(B, D), after the final norm."""
        return self.final[:, 0]

    @property
    def final_map(self) -> Tensor:
        """(B, D, h, w), after the final norm."""
        return self.as_map(self.final)

    def block_map(self, index: int) -> Tensor:
        """(B, D, h, w), the output of block `index`, under the key by which it was asked for."""
        return self.as_map(self.blocks[index])

    def as_map(self, tokens: Tensor) -> Tensor:
        """Patch tokens of (B, P+N, D) as (B, D, h, w)."""
        return tokens[:, self.num_prefix :].transpose(1, 2).unflatten(2, self.grid)

    def mean_attention(self) -> Tensor:
        """(B, L, 1+N, 1+N): every block, mean over heads, without the prefix tokens after the first."""
        maps = torch.stack([heads.mean(1) for heads in self.attention], dim=1)
        if self.num_prefix == 1:
            return maps
        keep = [0, *range(self.num_prefix, maps.shape[-1])]
        return maps[..., keep, :][..., keep]


class ViTBackbone(Backbone):
    """`timm.create_model(name, …)`: ViT, hybrid, DeiT (distilled too), DINO with registers.

    Images of any size are accepted: sides that are no multiple of the stride are resized to the nearest one,
    so that the maps always cover the whole image, and the position embedding is interpolated to the grid.
    The pyramid is the output of four blocks, each at the end of a quarter of the depth.

    Args:
        name: a timm network of the class `VisionTransformer` with a class token.
        pretrained: download timm's published weights.
        checkpoint_path: a local checkpoint of the same network, read by timm.
        position_interpolation: "bicubic" (ToCo) or "bilinear" (ACR), both `align_corners=False`.
        sigma_eps: for ACR's hybrid checkpoints, 1e-5: weights of the convolutional stem are divided by σ + eps, as
            timm did at their time; None: by √(σ² + 1e-8), as it does now.
        mean, std: input normalisation, where a checkpoint needs another one than timm states for `name`.
        stem: arguments of a `TimmBackbone` whose last features take the place of patches: a token is one cell.
        options: extra keyword arguments for timm (`img_size`, `patch_size`, `drop_path_rate` …).

    Raises:
        ValueError: timm does not know the name or an argument, or the network is none of those above.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        checkpoint_path: str = "",
        position_interpolation: str = "bicubic",
        sigma_eps: float | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        stem: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if position_interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"position_interpolation is '{position_interpolation}'; choose 'bicubic' or 'bilinear'")
        arguments = {"dynamic_img_size": True, "num_classes": 0} | dict(options or {})
        if stem is not None:
            arguments |= {"embed_layer": partial(HybridEmbed, backbone=build_stem(stem)), "patch_size": 1}
        self.net = create_network(name, arguments, pretrained=pretrained, checkpoint_path=checkpoint_path)
        _require_plain(name, self.net)
        if sigma_eps is not None and not use_sigma_std_conv(self.net.patch_embed, sigma_eps):
            raise ValueError(f"sigma_eps is for weight-standardised convolutions; '{name}' has none")
        self.position_interpolation = position_interpolation
        self.mean = tuple(mean or self.net.pretrained_cfg["mean"])
        self.std = tuple(std or self.net.pretrained_cfg["std"])
        self.channels = self.net.embed_dim
        self.stride = self.net.feature_info[0]["reduction"]
        self.depth = len(self.net.blocks)
        self.num_prefix = self.net.num_prefix_tokens
        self._pyramid = [max(round(self.depth * i / 4), 1) - 1 for i in (1, 2, 3, 4)]
        self.pyramid_channels = [self.channels] * 4
        self.pyramid_strides = [self.stride] * 4

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).final_map

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        tokens = self.tokens(images, blocks=self._pyramid)
        return tokens.final_map, [tokens.block_map(index) for index in self._pyramid]

    def tokens(self, images: Tensor, *, blocks: Sequence[int] = (), attention: bool = False) -> Tokens:
        """One pass over normalised images (B, 3, H, W).

        Args:
            blocks: whose outputs to return; negative ones count from the last block and keep their key.
            attention: also return every block's attention. The maps are part of the graph: gradients with
                respect to them exist whenever grad mode is on and something before them requires a gradient.
        """
        wanted = self._requested(blocks)
        x, grid = self._embed(images)
        outputs: dict[int, Tensor] = {}
        maps: list[Tensor] = []
        for index, block in enumerate(self.net.blocks):
            if attention:
                x, weights = _block_with_attention(block, x)
                maps.append(weights)
            else:
                x = checkpoint(block, x, use_reentrant=False) if self.net.grad_checkpointing else block(x)
            outputs |= dict.fromkeys(wanted.get(index, ()), x)
        return Tokens(self.net.norm(x), grid, self.num_prefix, outputs, maps)

    def freeze(self, stages: int) -> None:
        """Freeze the embedding (patches, positions, prefix) and the first `stages` quarters of the depth."""
        end = self._pyramid[stages - 1] + 1 if stages > 0 else 0
        for name, parameter in self.net.named_parameters():
            part = name.split(".")
            if (part[0] == "blocks" and int(part[1]) >= end) or part[0] in ("norm", "fc_norm", "head"):
                continue
            parameter.requires_grad_(False)

    def _requested(self, blocks: Sequence[int]) -> dict[int, list[int]]:
        """Block position -> the keys under which its output was asked for."""
        wanted: dict[int, list[int]] = {}
        for key in blocks:
            if not -self.depth <= key < self.depth:
                raise ValueError(f"block {key} does not exist; this transformer has {self.depth} blocks")
            wanted.setdefault(key % self.depth, []).append(key)
        return wanted

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embedded tokens (B, P+N, D) and the patch grid."""
        size = [max(round(side / self.stride), 1) * self.stride for side in images.shape[-2:]]
        if size != list(images.shape[-2:]):
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        net = self.net
        patches = net.patch_embed(images)  # (B, h, w, D)
        grid = (patches.shape[1], patches.shape[2])
        patches = patches.flatten(1, 2)
        prefix = [getattr(net, name, None) for name in ("cls_token", "dist_token", "reg_token")]
        prefix = [token.expand(len(images), -1, -1) for token in prefix if token is not None]
        positions = self._position_embedding(grid)
        if net.no_embed_class:
            x = torch.cat([*prefix, patches + positions], dim=1)
        else:
            x = torch.cat([*prefix, patches], dim=1) + positions
        return net.norm_pre(net.pos_drop(x)), grid

    def _position_embedding(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding on `grid`, as the papers interpolate it: without anti-aliasing."""
        return resample_abs_pos_embed(
            self.net.pos_embed,
            new_size=list(grid),
            old_size=list(self.net.patch_embed.grid_size),
            num_prefix_tokens=0 if self.net.no_embed_class else self.num_prefix,
            interpolation=self.position_interpolation,
            antialias=False,
            align_corners=False,
        )


def _block_with_attention(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    """A pre-norm block computed from q, k and v, and its attention (B, heads, T, T)."""
    mixed, attention = _attend(block.attn, block.norm1(x))
    x = x + block.drop_path1(block.ls1(mixed))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x)))), attention


def _attend(layer: Attention, x: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q·kᵀ/√d)·v (Vaswani 2017, eq. 1) with timm's weights, and the softmax before dropout."""
    q, k, v = layer.qkv(x).unflatten(2, (3, layer.num_heads, layer.head_dim)).permute(2, 0, 3, 1, 4)
    logits = (layer.q_norm(q) * layer.scale) @ layer.k_norm(k).transpose(-2, -1)
    attention = logits.softmax(dim=-1)
    mixed = layer.norm((layer.attn_drop(attention) @ v).transpose(1, 2).flatten(2))
    if layer.gate is not None:
        mixed = mixed * layer.gate(x).sigmoid()
    return layer.proj_drop(layer.proj(mixed)), attention


def _require_plain(name: str, net: nn.Module) -> None:
    """Raise ValueError unless every block is the standard one that `_block_with_attention` computes."""
    if not isinstance(net, VisionTransformer) or net.cls_token is None or net.pos_embed is None:
        raise ValueError(
            f"'{name}' is a {type(net).__name__}; accepted are timm's VisionTransformer networks with a "
            "class token and absolute positions (vit_*, deit_*, *_r50_s16_*, *_dinov2)"
        )
    for block in net.blocks:
        if type(block) is not Block or type(block.attn) is not Attention:
            kind = f"{type(block).__name__} with {type(block.attn).__name__}"
            raise ValueError(f"'{name}' has blocks of the kind {kind}; accepted is Block with Attention")
    if not isinstance(net.patch_drop, nn.Identity):
        raise ValueError("patch_drop_rate must be 0: dropped patches leave no map")
