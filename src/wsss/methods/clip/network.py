"""CLIP-ES: Lin et al., "CLIP is Also an Efficient Segmenter", CVPR 2023. Nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.clip import CLIPBackbone
from wsss.backbones.tokens import Embedded
from wsss.data.batch import Batch
from wsss.methods.base import Method
from wsss.methods.clip.gradcam import encode, image_logits, softmax_cam, stretch, text_of
from wsss.methods.clip.settings import Settings
from wsss.methods.clip.text import class_features, encode_phrases, tower_of
from wsss.refine.attention import refine, transition_matrix


class CLIPES(Method):
    """A frozen CLIP, the text features of the classes and of background phrases.

    The backbone is a `CLIPBackbone`. The text features (K+G, E) are made by `name_classes` and lie in the model file,
    so that maps need no text tower.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        if not isinstance(backbone, CLIPBackbone):
            raise ValueError(
                "method clip needs an image tower of CLIP, e.g. backbone.name vit_base_patch16_clip_quickgelu_224; "
                f"found is a {type(backbone).__name__}"
            )
        self.settings, self.backbone = settings, backbone.requires_grad_(False)
        self.num_classes, self.scale = len(class_names) - 1, 1 / settings.temperature
        width = backbone.projection.out_features
        self.register_buffer("text", torch.zeros(self.num_classes + len(settings.backgrounds), width))

    def name_classes(self, class_names: Sequence[str], checkpoint: Path | None) -> None:
        """Computes the text features of the K classes; checkpoint: the backbone's, which may hold the text tower.

        Raises:
            ValueError: no text tower, prompts that do not fit the classes, or towers of different models.
        """
        quick_gelu = "quickgelu" in self.backbone.net.pretrained_cfg["architecture"]
        own = self.settings.text_checkpoint
        tower = tower_of(own.path if own else checkpoint, quick_gelu=quick_gelu)
        classes = class_features(tower, class_names, self.settings.prompts, self.settings.template)
        backgrounds = encode_phrases(
            tower, [self.settings.template.format(phrase) for phrase in self.settings.backgrounds]
        )
        found = text_of(classes, backgrounds)
        if found.shape != self.text.shape:
            raise ValueError(
                f"the text tower's features have {found.shape[1]} numbers, the image tower's {self.text.shape[1]}; "
                "take both from one model"
            )
        self.text.copy_(found)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        raise ValueError("method clip trains nothing: set train_classifier.training to null")

    def activation_maps(self, images: Tensor) -> Tensor:
        return self.present_maps(images, images.new_ones(len(images), self.num_classes))

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps (B, K, h, w) in [0, 1], each stretched to its range; 0 for absent classes."""
        with torch.inference_mode(False), torch.no_grad():
            encoded = encode(self.backbone, self._whole_patches(images.clone()), self.settings.affinity_blocks)
            found = softmax_cam(self.backbone, encoded.last, self.text, self.scale, labels)
            if self.settings.affinity_blocks == 0:
                return found.cams
            attention = found.attention if encoded.attention is None else encoded.attention + found.attention
            transition = transition_matrix(attention)
            maps = torch.zeros_like(found.cams)
            for out, cams, matrix, present in zip(maps, found.cams, transition, labels > 0, strict=True):
                refined = refine(cams[present], matrix, self.settings.box_threshold, self.settings.affinity_power)
                out[present] = stretch(refined)
        return maps

    def logits(self, images: Tensor) -> Tensor:
        """Log-probabilities (B, K) among classes and background phrases: zero-shot, as good as the words are."""
        embedded = self.backbone.embed(self._whole_patches(images))
        last: Embedded = self.backbone.run(embedded, 0, self.backbone.depth)
        return image_logits(self.backbone, last.x, self.text, self.scale).log_softmax(1)[:, : self.num_classes]

    def head_parameters(self) -> list[nn.Parameter]:
        return []

    def _whole_patches(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) enlarged to the next multiple of a patch (bicubic), as published."""
        size = [-(-side // self.backbone.stride) * self.backbone.stride for side in images.shape[-2:]]
        if size == list(images.shape[-2:]):
            return images
        return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
