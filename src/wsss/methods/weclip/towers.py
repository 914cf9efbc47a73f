"""Outputs of WeCLIP's frozen towers and of its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wsss.backbones.build import build_backbone
from wsss.backbones.clip import CLIPBackbone
from wsss.backbones.tokens import Embedded, TransformerBackbone
from wsss.methods.softmax_cam import patch_attention
from wsss.methods.weclip.refinement import decoder_shares, joint_features
from wsss.methods.weclip.settings import Second
from wsss.runtime.tensors import resize
from wsss.segmentation.token_decoder import OnFrozen, TokenFuse, require_blocks


@dataclass(frozen=True)
class TowerOutputs:
    """Results of one pass through CLIP up to its last block.

    tokens: of each requested block, (B, D, h, w). last: input of the last block. attention: (B, N, N) of each
    requested block before the last, mean over heads.
    """

    tokens: list[Tensor]
    last: Embedded
    attention: list[Tensor]


@torch.no_grad()
def run_tower(backbone: CLIPBackbone, images: Tensor, blocks: Sequence[int], attention_blocks: int) -> TowerOutputs:
    """Runs all blocks but the last on normalised images (B, 3, H, W), and the last one if its tokens are requested.

    attention_blocks: number of final blocks, the last included, whose attention is requested.
    """
    wanted = [block % backbone.depth for block in blocks]
    state, maps, end = backbone.embed(images), {}, backbone.depth - 1
    found: list[Tensor] = []

    def keep(_index: int, weights: Tensor) -> None:
        found.append(patch_attention(weights, backbone.num_prefix).float())

    for index in range(end):
        late = index >= backbone.depth - attention_blocks
        state = backbone.run(state, index, index + 1, keep if late else None)
        if index in wanted:
            maps[index] = backbone.as_map(state)
    if end in wanted:
        maps[end] = backbone.as_map(backbone.run(state, end, end + 1))
    return TowerOutputs([maps[index] for index in wanted], state, found)


@dataclass(frozen=True)
class Decoded:
    """Decoder outputs: logits (B, C, h, w) of CLIP and of the second tower, if any, and the features (B, D, h, w) from
    which the affinity is computed."""

    clip: Tensor
    features: Tensor
    second: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """(B, C, h, w); with two towers, their mean."""
        return self.clip if self.second is None else (self.clip + self.second) / 2

    @property
    def shares(self) -> Tensor | None:
        """(B, C, h, w), WeCLIP+'s weights of the maps."""
        return None if self.second is None else decoder_shares(self.clip.float(), self.second.float())


class SecondTower(OnFrozen):
    """WeCLIP+'s second frozen tower and the MLPs that fuse its tokens; random until `read_weights`."""

    def __init__(self, settings: Second, width: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """width: channels of the fused features. mean, std: normalisation of the input images."""
        super().__init__()
        self.settings, self.given = settings, (mean, std)
        backbone = build_backbone(settings.backbone, weights=False)
        if not isinstance(backbone, TransformerBackbone):
            raise ValueError(f"method.second needs a transformer (vit_*, DINO); found is a {type(backbone).__name__}")
        require_blocks(backbone, settings.blocks, "method.second.blocks:")
        self.encoder = backbone.requires_grad_(False)
        self.fuse = TokenFuse(len(settings.blocks), backbone.channels, width)

    def read_weights(self) -> None:
        """Loads the tower's published weights, as named in its settings."""
        self.encoder = build_backbone(self.settings.backbone).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Fused features (B, width, h', w') of images (B, 3, H, W), normalised as CLIP's."""
        return self.fuse(self.block_maps(self._normalised(images), self.settings.blocks))

    def _normalised(self, images: Tensor) -> Tensor:
        own = self.encoder.mean, self.encoder.std
        if own == self.given:
            return images
        mean, std, own_mean, own_std = (images.new_tensor(row)[:, None, None] for row in (*self.given, *own))
        return (images * std + mean - own_mean) / own_std


def decode(features: Tensor, decoder: nn.Module, other: Tensor | None) -> Decoded:
    """Decodes both towers' fused features with one decoder; the second's logits are resized to CLIP's grid."""
    clip = decoder(features)
    if other is None:
        return Decoded(clip, features)
    second = resize(decoder(other), tuple(clip.shape[-2:]), align_corners=False)
    return Decoded(clip, joint_features(features, other), second)
