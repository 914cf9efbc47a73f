"""CLIP-ES: Lin et al., "CLIP is Also an Efficient Segmenter", CVPR 2023. Nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.data.batch import Batch
from wsss.methods.clip.settings import Settings
from wsss.methods.on_clip import OnCLIP
from wsss.methods.softmax_cam import encode, softmax_cam, stretch
from wsss.refine.attention import refine, sinkhorn_transition


class CLIPES(OnCLIP):
    """A frozen CLIP, whose maps are refined by its own attention.

    Raises:
        ValueError: another backbone, or more blocks than it has.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__(backbone, class_names, settings)
        if settings.affinity_blocks > self.backbone.depth:
            raise ValueError(
                f"method.affinity_blocks is {settings.affinity_blocks}; accepted are 0 to {self.backbone.depth}, the "
                "blocks of this CLIP"
            )

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        raise ValueError("method clip trains nothing: set train_classifier.training to null")

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps (B, K, h, w), each min-max normalised to [0, 1]; 0 for absent classes."""
        with torch.inference_mode(False), torch.no_grad():
            encoded = encode(self.backbone, self.whole_patches(images.clone()), self.settings.affinity_blocks)
            found = softmax_cam(self.backbone, encoded.last, self.text, self.scale, labels)
            if self.settings.affinity_blocks == 0:
                return found.cams
            attention = found.attention if encoded.attention is None else encoded.attention + found.attention
            transition = sinkhorn_transition(attention)
            maps = torch.zeros_like(found.cams)
            for out, cams, matrix, present in zip(maps, found.cams, transition, labels > 0, strict=True):
                refined = refine(cams[present], matrix, self.settings.box_threshold, self.settings.affinity_power)
                out[present] = stretch(refined)
        return maps

    def head_parameters(self) -> list[nn.Parameter]:
        return []
