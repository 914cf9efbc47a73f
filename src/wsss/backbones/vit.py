"""Plain vision transformers of timm, with the tokens and the attention of every block (Dosovitskiy 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

from wsss.backbones.attention import block_fault
from wsss.backbones.positions import check_rule, default_rule, interpolate_positions
from wsss.backbones.std_conv import use_sigma_std_conv
from wsss.backbones.timm import build_stem, create_network
from wsss.backbones.tokens import Embedded, TransformerBackbone


class ViTBackbone(TransformerBackbone):
    """`timm.create_model(name, …)`: ViT, hybrid, DeiT (also distilled), CLIP, DINOv2 with or without registers.

    Args:
        name: a timm network of the class `VisionTransformer` with a class token.
        pretrained: download timm's published weights.
        checkpoint_path: a local checkpoint of the same network, read by timm.
        incomplete_patches: "resize" images to the nearest multiple of the patch, or "drop" pixels beyond whole patches
            (ToCo's test).
        position_interpolation: one of `wsss.backbones.positions.RULES`; None: that of the original implementation.
        sigma_eps: for ACR's hybrid checkpoints, 1e-5: weights of the convolutional stem are divided by σ + eps, as in
            the timm of that time; None: by √(σ² + 1e-8), as in current timm.
        mean, std: input normalisation, if a checkpoint needs another one than timm's for `name`.
        stem: arguments of a `TimmBackbone` whose last features replace the patches, one token per cell.
        options: extra keyword arguments for timm (`img_size`, `patch_size`, `drop_path_rate` …).

    Raises:
        ValueError: timm does not know the name or an argument, or the network is of another class.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        checkpoint_path: str = "",
        incomplete_patches: str = "resize",
        position_interpolation: str | None = None,
        sigma_eps: float | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        stem: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        rule = position_interpolation or default_rule(name)
        check_rule(rule)
        if incomplete_patches not in ("resize", "drop"):
            raise ValueError(f"incomplete_patches is '{incomplete_patches}'; choose 'resize' or 'drop'")
        arguments = {"dynamic_img_size": True, "num_classes": 0} | dict(options or {})
        if stem is not None:
            arguments |= {"embed_layer": partial(HybridEmbed, backbone=build_stem(stem)), "patch_size": 1}
        net = create_network(name, arguments, pretrained=pretrained, checkpoint_path=checkpoint_path)
        _require_plain(name, net)
        if sigma_eps is not None and not use_sigma_std_conv(net.patch_embed, sigma_eps):
            raise ValueError(f"sigma_eps is for weight-standardised convolutions; '{name}' has none")
        super().__init__(net, mean, std)
        self.position_interpolation, self.incomplete_patches = rule, incomplete_patches

    def embed(self, images: Tensor) -> Embedded:
        net = self.net
        patches = net.patch_embed(self._to_whole_patches(images))  # (B, h, w, D)
        grid = (patches.shape[1], patches.shape[2])
        patches = patches.flatten(1, 2)
        prefix = [getattr(net, name, None) for name in ("cls_token", "dist_token", "reg_token")]
        prefix = [token.expand(len(images), -1, -1) for token in prefix if token is not None]
        positions = self.positions(grid)
        if net.no_embed_class:
            x = torch.cat([*prefix, patches + positions], dim=1)
        else:
            x = torch.cat([*prefix, patches], dim=1) + positions
        return Embedded(net.norm_pre(net.pos_drop(x)), grid)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position embedding on `grid`: (1, P+N, D), or (1, N, D) if prefix tokens have none."""
        prefix = 0 if self.net.no_embed_class else self.num_prefix
        old = self.net.patch_embed.grid_size
        return interpolate_positions(self.net.pos_embed, grid, old, prefix, self.position_interpolation)


def _require_plain(name: str, net: nn.Module) -> None:
    """Raise ValueError unless `block_with_attention` supports every block."""
    if not isinstance(net, VisionTransformer) or net.cls_token is None or net.pos_embed is None:
        raise ValueError(
            f"'{name}' is a {type(net).__name__}; accepted are timm's VisionTransformer networks with a "
            "class token and absolute positions (vit_*, deit_*, *_r50_s16_*, *_dinov2)"
        )
    for fault in filter(None, map(block_fault, net.blocks)):
        raise ValueError(f"'{name}' has blocks of the kind {fault}; accepted is Block with Attention")
    if not isinstance(net.patch_drop, nn.Identity):
        raise ValueError("patch_drop_rate must be 0: dropped patches leave no map")
