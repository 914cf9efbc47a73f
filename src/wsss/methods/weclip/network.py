"""WeCLIP and WeCLIP+: Zhang et al., "Frozen CLIP", CVPR 2024, and "Frozen CLIP-DINO", TPAMI 2025."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.tokens import Embedded
from wsss.data.batch import Batch
from wsss.localise.seeds import ignore_outside
from wsss.methods.on_clip import OnCLIP
from wsss.methods.shared import denormalise
from wsss.methods.softmax_cam import softmax_cam, stretch
from wsss.methods.weclip.losses import confident_replaced, loss_terms
from wsss.methods.weclip.refinement import refine_maps, select
from wsss.methods.weclip.settings import Settings
from wsss.methods.weclip.towers import Decoded, SecondTower, TowerOutputs, decode, run_tower
from wsss.refine.par import par
from wsss.runtime.tensors import largest, resize
from wsss.segmentation.token_decoder import TokenHead, cell_affinity, require_blocks


class WeCLIP(OnCLIP):
    """A decoder on frozen CLIP tokens, trained on CLIP's maps, which its own features refine.

    With `settings.second` it is WeCLIP+. Only the decoder and the MLPs before it are trained.

    Raises:
        ValueError: another backbone, or blocks that it does not have.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__(backbone, class_names, settings)
        depth = self.backbone.depth
        self.blocks = list(range(max(depth - 1, 1))) if settings.blocks is None else settings.blocks
        require_blocks(self.backbone, self.blocks, "method.blocks:")
        self.attention_blocks = max(settings.affinity_blocks, settings.early_blocks)
        if self.attention_blocks > depth:
            raise ValueError(f"affinity_blocks or early_blocks is {self.attention_blocks}; CLIP has {depth} blocks")
        shape = (settings.width, settings.layers, settings.heads, settings.half_projection)
        self.head = TokenHead(len(self.blocks), self.backbone.channels, len(class_names), *shape)
        self.begins = {"refined_steps": settings.refined_steps}
        if settings.second:
            self.begins["second.confident_steps"] = settings.second.confident_steps
        self.second = settings.second and SecondTower(settings.second, settings.width, backbone.mean, backbone.std)

    def name_classes(self, class_names: Sequence[str], checkpoint: Path | None) -> None:
        """Also reads the second tower's weights, if there is one."""
        super().name_classes(class_names, checkpoint)
        if self.second is not None:
            self.second.read_weights()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The terms of `loss_terms`."""
        outputs, decoded = self.read(batch.images)
        return loss_terms(decoded, self.pseudo_labels(batch, outputs, decoded, step), self.settings)

    @torch.no_grad()
    def pseudo_labels(self, batch: Batch, outputs: TowerOutputs, decoded: Decoded, step: int) -> Tensor:
        """Labels (B, H, W) of a training step, int64: the argmax of [1 − max, maps] after PAR.

        Padding is 255. From `second.confident_steps` on, WeCLIP+ replaces labels by confident predictions.
        """
        size, second = tuple(batch.images.shape[-2:]), self.settings.second
        maps = self._maps(outputs, decoded, batch.labels, refined=step >= self.settings.refined_steps)
        maps = resize(maps, size, align_corners=False)
        scores = torch.cat([1 - maps.amax(1, keepdim=True), maps], dim=1)
        photographs = denormalise(batch.images, self.backbone.mean, self.backbone.std)
        refined = par(photographs, scores, iterations=self.settings.iterations)
        absent = F.pad(batch.labels, (1, 0), value=1)[:, :, None, None] == 0
        labels = ignore_outside(largest(refined.masked_fill(absent, -torch.inf), 1), batch.boxes)
        if second and step >= second.confident_steps:
            return confident_replaced(labels, decoded.logits, second.confidence)
        return labels

    def _maps(self, outputs: TowerOutputs, decoded: Decoded, labels: Tensor, *, refined: bool) -> Tensor:
        """Maps (B, K, h, w) in [0, 1], refined by CLIP's attention; 0 for absent classes.

        refined: by the attention of the blocks that agree with the decoder's features, instead of all late blocks.
        """
        with torch.autocast(labels.device.type, enabled=False):  # these gradients underflow in half precision
            last = Embedded(outputs.last.x.float(), outputs.last.grid)
            found = softmax_cam(self.backbone, last, self.text, self.scale, labels)
            attention = torch.stack([*outputs.attention, found.attention], dim=1)  # (B, L, N, N)
            affinity, shares = cell_affinity(decoded.features.detach().float()), decoded.shares
            maps = torch.zeros_like(found.cams)
            for i, present in enumerate(labels > 0):
                if refined:
                    late = attention[i, -self.settings.affinity_blocks :]
                    matrix = select(late, affinity[i], self.settings.difference).matrix
                else:
                    matrix = attention[i, -self.settings.early_blocks :].mean(0)
                own = None if shares is None else shares[i, 1:][present]
                spread = refine_maps(found.cams[i][present], matrix, self.settings.box_threshold, own)
                maps[i][present] = stretch(spread)
        return maps

    def read(self, images: Tensor) -> tuple[TowerOutputs, Decoded]:
        """Outputs of the towers and the decoder for normalised images (B, 3, H, W)."""
        images = self.whole_patches(images)
        outputs = run_tower(self.backbone, images, self.blocks, self.attention_blocks)
        return outputs, self._decode(outputs.tokens, images)

    def _decode(self, tokens: Sequence[Tensor], images: Tensor) -> Decoded:
        other = None if self.second is None else self.second(images)
        return decode(self.head.fuse(tokens), self.head.decoder, other)

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps (B, K, h, w) in [0, 1], refined by the decoder's features; 0 for absent classes."""
        with torch.inference_mode(False), torch.no_grad():
            outputs, decoded = self.read(images.clone())
            return self._maps(outputs, decoded, labels, refined=True)

    def segment_logits(self, images: Tensor) -> Tensor:
        """Decoded class logits (B, C, h, w), background first; with two towers, their mean."""
        images = self.whole_patches(images)
        return self._decode(run_tower(self.backbone, images, self.blocks, 0).tokens, images).logits

    def head_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
