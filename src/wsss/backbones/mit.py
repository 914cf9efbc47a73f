"""Mix Transformers MiT-B0 … B5 (Xie et al. 2021, SegFormer), with configurable strides and attention logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from wsss.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Backbone, require_stages
from wsss.backbones.timm import build_stem

ARCHITECTURES: dict[str, dict[str, Sequence[int]]] = {
    "mit_b0": {"hidden_sizes": (32, 64, 160, 256), "depths": (2, 2, 2, 2)},
    "mit_b1": {"hidden_sizes": (64, 128, 320, 512), "depths": (2, 2, 2, 2)},
    "mit_b2": {"hidden_sizes": (64, 128, 320, 512), "depths": (3, 4, 6, 3)},
    "mit_b3": {"hidden_sizes": (64, 128, 320, 512), "depths": (3, 4, 18, 3)},
    "mit_b4": {"hidden_sizes": (64, 128, 320, 512), "depths": (3, 8, 27, 3)},
    "mit_b5": {"hidden_sizes": (64, 128, 320, 512), "depths": (3, 6, 40, 3)},
}

_BLOCK_EPS = 1e-6  # blocks and stage outputs were trained with it; patch embeddings and reductions with 1e-5


class MiT(Backbone):
    """A Mix Transformer encoder without classifier, built from transformers' SegFormer blocks.

    Args:
        name: "mit_b0" … "mit_b5".
        strides: of the four patch embeddings; (4, 2, 2, 1) keeps the last stage at stride 16, with attention over all
            N = h·w cells (AFA); (4, 2, 2, 2) is SegFormer's.
        drop_path_rate: stochastic depth of the last block, decreasing linearly to the first.
        stem: arguments of a `TimmBackbone` whose last features are embedded instead of the image.
        options: further fields of `transformers.SegformerConfig` (`hidden_sizes`, `depths`, …).

    Raises:
        ValueError: an unknown name or option; at call time, images too small for the attention's reduction.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        name: str = "mit_b1",
        *,
        strides: Sequence[int] = (4, 2, 2, 1),
        drop_path_rate: float = 0.1,
        stem: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        from transformers import SegformerModel  # slow to import, and only these backbones need it

        self.stem = build_stem(stem) if stem is not None else None
        cell, channels = (self.stem.stride, self.stem.channels) if self.stem is not None else (1, 3)
        config = _config(name, strides, drop_path_rate, {"num_channels": channels} | (options or {}))
        self.net = SegformerModel(config)
        self.net.apply(_initialise)
        self._set_eps()
        self.pyramid_channels = list(config.hidden_sizes)
        self.pyramid_strides = [cell * math.prod(config.strides[: i + 1]) for i in range(len(config.strides))]
        self.channels, self.stride = self.pyramid_channels[-1], self.pyramid_strides[-1]
        per_stage = zip(config.num_attention_heads, config.depths, strict=True)
        self.heads = [heads for heads, depth in per_stage for _ in range(depth)]  # of every block
        self.minimum_size = max(r * s for r, s in zip(config.sr_ratios, self.pyramid_strides, strict=True))

    def forward(self, images: Tensor) -> Tensor:
        return self.with_attention(images, ())[0]

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features, pyramid, _ = self.with_attention(images, ())
        return features, pyramid

    def with_attention(self, images: Tensor, blocks: Sequence[int]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Final features, every stage's output and the attention logits of `blocks`, from one forward pass.

        Args:
            images: (B, 3, H, W), normalised.
            blocks: indices over all blocks, shallow to deep; negative ones count from the end.

        Returns:
            features (B, D, h, w); the pyramid, whose last level they are; and for each of `blocks` its logits
            q·kᵀ (B, heads, N, N), see `attention_logits`.
        """
        if min(images.shape[-2:]) < self.minimum_size:
            given, accepted = tuple(images.shape[-2:]), f"{self.minimum_size} or more pixels a side"
            raise ValueError(f"images of {given} pixels given; accepted by this MiT: {accepted}")
        wanted = [range(len(self.heads))[block] for block in blocks]
        logits: dict[int, Tensor] = {}
        hidden, pyramid, index = images if self.stem is None else self.stem(images), [], 0
        for stage in self.net.stages:
            hidden, height, width = stage.patch_embeddings(hidden)
            for block in stage.blocks:
                if index in wanted:
                    logits[index] = attention_logits(block, hidden, height, width)
                hidden = block(hidden, height, width)
                index += 1
            hidden = stage.layer_norm(hidden).transpose(1, 2).unflatten(2, (height, width)).contiguous()
            pyramid.append(hidden)
        return hidden, pyramid, [logits[block] for block in wanted]

    def freeze(self, stages: int) -> None:
        """Freeze the stem (up to the first patch embedding, inclusive) and the first `stages` stages."""
        require_stages(stages, len(self.net.stages), "MiT")
        if self.stem is not None:
            self.stem.requires_grad_(False)
        self.net.stages[0].patch_embeddings.requires_grad_(False)
        for stage in self.net.stages[:stages]:
            stage.requires_grad_(False)

    def freeze_norms(self) -> None:
        """Stop training every LayerNorm, as AFA does (it gives them learning rate 0)."""
        for module in self.net.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(False)

    def _set_eps(self) -> None:
        for stage in self.net.stages:
            stage.layer_norm.eps = _BLOCK_EPS
            for block in stage.blocks:
                block.layernorm_before.eps = block.layernorm_after.eps = _BLOCK_EPS


def attention_logits(block: nn.Module, hidden: Tensor, height: int, width: int) -> Tensor:
    """Attention logits q·kᵀ of one block, before scaling and softmax.

    Args:
        block: a transformers `SegformerLayer`.
        hidden: (B, height·width, D), the block's input.

    Returns:
        (B, heads, N, N). With a reduction ratio r, a key represents r × r cells: their queries are averaged, and
        N = ⌊height/r⌋·⌊width/r⌋. Without, N = height·width.

    q and k are projected a second time, because transformers does not return them, at two small matrix products.
    """
    attention = block.attention
    queries = keys = block.layernorm_before(hidden)
    ratio = attention.sequence_reduction_ratio
    if ratio > 1:
        keys = attention.sequence_reduction(keys, height, width)
        grid = queries.transpose(1, 2).unflatten(2, (height, width))
        queries = F.avg_pool2d(grid, ratio).flatten(2).transpose(1, 2)
    q = attention.q_proj(queries).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
    k = attention.k_proj(keys).unflatten(2, (-1, attention.head_dim)).transpose(1, 2)
    return q @ k.transpose(2, 3)


def _config(name: str, strides: Sequence[int], drop_path_rate: float, options: dict[str, Any]) -> Any:
    from transformers import SegformerConfig

    if name not in ARCHITECTURES:
        raise ValueError(f"unknown MiT '{name}'; accepted: {', '.join(ARCHITECTURES)}")
    if len(strides) != 4:
        raise ValueError(f"MiT has four patch embeddings, one stride each; got strides {tuple(strides)}")
    accepted = {field for field in SegformerConfig.__annotations__ if not field.startswith("_")}
    if unknown := set(options) - accepted:
        raise ValueError(f"unknown MiT options {sorted(unknown)}; accepted: {', '.join(sorted(accepted))}")
    fields = {**ARCHITECTURES[name], "strides": tuple(strides), "drop_path_rate": drop_path_rate, **options}
    return SegformerConfig(**fields)


def _initialise(module: nn.Module) -> None:
    """The published initialisation; that of transformers leaves the depth-wise convolutions close to zero."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        nn.init.zeros_(module.bias)
