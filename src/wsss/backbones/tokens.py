"""Transformers as backbones: tokens of selected blocks, q/k/v, attention, and separate runs of some blocks.

The common interface of ViT, DeiT, CLIP, DINOv2 (`wsss.backbones.vit`, `.clip`) and DINOv3 (`.eva`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wsss.backbones.attention import block_with_attention, queries_keys_values
from wsss.backbones.base import Backbone, require_stages
from wsss.runtime.tensors import resize


@dataclass(frozen=True)
class Tokens:
    """Result of one pass through a transformer: P prefix tokens, class token first, and N = h·w patches.

    final: (B, P+N, D), the last block's output after the final norm.
    grid: (h, w) of the patches, row-major.
    num_prefix: P; distillation and register tokens follow the class token.
    blocks: block index (from 0) -> (B, P+N, D), that block's output before any final norm.
    attention: one per block, (B, heads, P+N, P+N) after softmax, rows sum to 1; empty unless requested.
    keys: (B, P+N, D), the keys of the last block's attention, heads one after another; None unless requested.
    """

    final: Tensor
    grid: tuple[int, int]
    num_prefix: int
    blocks: dict[int, Tensor] = field(default_factory=dict)
    attention: list[Tensor] = field(default_factory=list)
    keys: Tensor | None = None

    @property
    def class_token(self) -> Tensor:
        """(B, D), after the final norm."""
        return self.final[:, 0]

    @property
    def final_map(self) -> Tensor:
        """(B, D, h, w), after the final norm."""
        return self.as_map(self.final)

    def block_map(self, index: int) -> Tensor:
        """(B, D, h, w), the output of block `index`, given as in the request."""
        return self.as_map(self.blocks[index])

    def as_map(self, tokens: Tensor) -> Tensor:
        """Patch tokens of (B, P+N, D) as (B, D, h, w)."""
        return _patch_map(tokens, self.num_prefix, self.grid)

    def mean_attention(self) -> Tensor:
        """(B, L, 1+N, 1+N): every block, mean over heads, without the prefix tokens after the first."""
        maps = torch.stack([heads.mean(1) for heads in self.attention], dim=1)
        if self.num_prefix == 1:
            return maps
        keep = [0, *range(self.num_prefix, maps.shape[-1])]
        return maps[..., keep, :][..., keep]


@dataclass(frozen=True)
class Embedded:
    """Tokens (B, P+N, D) between blocks, the patch grid (h, w), and rotations (N, 2d) if any."""

    x: Tensor
    grid: tuple[int, int]
    rope: Tensor | None = None


AttentionSink = Callable[[int, Tensor], None]
"""Called with (block index from 0, attention (B, heads, P+N, P+N)), so that not all attention has to be kept."""


class TransformerBackbone(Backbone):
    """A timm network of equal blocks. Its pyramid is the output of the last block of each quarter of the depth.

    Images of any size are accepted: sides that are no multiple of the stride are resized to the nearest one, so that
    the maps cover the whole image, and positions are interpolated to the grid.

    depth: L, number of blocks. num_prefix: P, tokens before the patches.
    """

    depth: int
    num_prefix: int
    has_keys = True

    def __init__(self, net: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """net: with `blocks`, `norm`, `patch_embed` and `num_prefix_tokens`. mean, std: None: the net's own."""
        super().__init__()
        self.net, self.incomplete_patches = net, "resize"
        self.mean, self.std = tuple(mean or net.pretrained_cfg["mean"]), tuple(std or net.pretrained_cfg["std"])
        self.channels, self.stride = net.embed_dim, net.feature_info[0]["reduction"]
        self.depth, self.num_prefix = len(net.blocks), net.num_prefix_tokens
        self._pyramid = [max(round(self.depth * i / 4), 1) - 1 for i in (1, 2, 3, 4)]
        self.pyramid_channels = [self.channels] * 4
        self.pyramid_strides = [self.stride] * 4

    @abstractmethod
    def embed(self, images: Tensor) -> Embedded:
        """Normalised images (B, 3, H, W) as the tokens that enter the first block."""

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).final_map

    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self._final_and_pyramid(self.tokens(images, blocks=self._pyramid))

    def features_pyramid_keys(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        tokens = self.tokens(images, blocks=self._pyramid, keys=True)
        return *self._final_and_pyramid(tokens), tokens.as_map(tokens.keys)

    def _final_and_pyramid(self, tokens: Tokens) -> tuple[Tensor, list[Tensor]]:
        return tokens.final_map, [tokens.block_map(index) for index in self._pyramid]

    def tokens(
        self, images: Tensor, *, blocks: Sequence[int] = (), attention: bool = False, keys: bool = False
    ) -> Tokens:
        """One pass over normalised images (B, 3, H, W).

        Args:
            blocks: indices of the outputs to return; negative ones count from the end and keep their key.
            attention: also return every block's attention. It is part of the graph: gradients with respect to it
                exist if grad mode is on and something before it requires a gradient.
            keys: also return the last block's keys, as `queries_keys_values` gives them.
        """
        wanted = self._requested(blocks)
        embedded = self.embed(images)
        outputs: dict[int, Tensor] = {}
        maps: list[Tensor] = []
        sink = (lambda _index, weights: maps.append(weights)) if attention else None
        last_keys = None
        for index in range(self.depth):
            if keys and index == self.depth - 1:
                last_keys = self.queries_keys_values(embedded)[1].transpose(1, 2).flatten(2)
            embedded = self.run(embedded, index, index + 1, sink)
            outputs |= dict.fromkeys(wanted.get(index, ()), embedded.x)
        return Tokens(self.net.norm(embedded.x), embedded.grid, self.num_prefix, outputs, maps, last_keys)

    def run(self, embedded: Embedded, start: int, stop: int, attention: AttentionSink | None = None) -> Embedded:
        """Tokens after blocks start … stop − 1, given those before block `start`.

        attention: called with every block's attention, which is not kept otherwise.
        """
        x, rope = embedded.x, embedded.rope
        arguments = {} if rope is None else {"rope": rope}
        for index in range(start, stop):
            block = self.net.blocks[index]
            if attention is not None:
                x, weights = block_with_attention(block, x, rope)
                attention(index, weights)
            elif self.net.grad_checkpointing:
                x = checkpoint(block, x, use_reentrant=False, **arguments)
            else:
                x = block(x, **arguments)
        return Embedded(x, embedded.grid, rope)

    def queries_keys_values(self, embedded: Embedded, index: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v (B, heads, P+N, d) of block `index` for its input tokens, before scale and rotation."""
        block = self.net.blocks[index]
        return queries_keys_values(block.attn, block.norm1(embedded.x))

    def as_map(self, embedded: Embedded) -> Tensor:
        """The patch tokens as (B, D, h, w)."""
        return _patch_map(embedded.x, self.num_prefix, embedded.grid)

    def freeze(self, stages: int) -> None:
        """Freeze the embedding (patches, positions, prefix) and the first `stages` quarters of the depth."""
        require_stages(stages, len(self._pyramid), "this transformer")
        end = self._pyramid[stages - 1] + 1 if stages > 0 else 0
        for name, parameter in self.net.named_parameters():
            part = name.split(".")
            if (part[0] == "blocks" and int(part[1]) >= end) or part[0] in ("norm", "fc_norm", "head"):
                continue
            parameter.requires_grad_(False)

    def _requested(self, blocks: Sequence[int]) -> dict[int, list[int]]:
        """Block index from 0 → the requested keys of its output."""
        wanted: dict[int, list[int]] = {}
        for key in blocks:
            if not -self.depth <= key < self.depth:
                raise ValueError(f"block {key} does not exist; this transformer has {self.depth} blocks")
            wanted.setdefault(key % self.depth, []).append(key)
        return wanted

    def _to_whole_patches(self, images: Tensor) -> Tensor:
        """Images resized to the nearest multiple of the stride, or cropped to the next lower one."""
        whole = int if self.incomplete_patches == "drop" else round
        size = [max(whole(side / self.stride), 1) * self.stride for side in images.shape[-2:]]
        if self.incomplete_patches == "drop":
            images = images[..., : size[0], : size[1]]
        if size == list(images.shape[-2:]):
            return images
        return resize(images, tuple(size), align_corners=False)


def _patch_map(tokens: Tensor, num_prefix: int, grid: tuple[int, int]) -> Tensor:
    return tokens[:, num_prefix:].transpose(1, 2).unflatten(2, grid)
