"""Classification by a frozen CLIP and text prompts, shared by CLIP-ES and WeCLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.backbones.base import Backbone
from wsss.backbones.clip import CLIPBackbone
from wsss.config.words import Words
from wsss.methods.base import Method
from wsss.methods.softmax_cam import image_logits, text_of
from wsss.methods.words import text_features, tower_of


class OnCLIP(Method):
    """A method on a frozen `CLIPBackbone`, with the text features of the classes and of background phrases.

    `name_classes` computes the text features (K+G, E); the model file contains them, so that maps need no text tower.
    """

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Words) -> None:
        super().__init__()
        if not isinstance(backbone, CLIPBackbone):
            raise ValueError(
                f"method {settings.name} needs an image tower of CLIP, e.g. backbone.name "
                f"vit_base_patch16_clip_quickgelu_224; found is a {type(backbone).__name__}"
            )
        self.settings, self.backbone = settings, backbone.requires_grad_(False)
        self.num_classes, self.scale = len(class_names) - 1, 1 / settings.temperature
        width = backbone.projection.out_features
        self.register_buffer("text", torch.zeros(self.num_classes + len(settings.backgrounds), width))

    def name_classes(self, class_names: Sequence[str], checkpoint: Path | None) -> None:
        """Computes the text features of the K classes. checkpoint: the backbone's file, which may have the text tower.

        Raises:
            ValueError: no text tower, prompts that do not fit the classes, or towers of different models.
        """
        quick_gelu = "quickgelu" in self.backbone.net.pretrained_cfg["architecture"]
        own = self.settings.text_checkpoint
        tower = tower_of(own.path if own else checkpoint, quick_gelu=quick_gelu)
        found = text_of(*text_features(tower, self.settings, class_names))
        if found.shape != self.text.shape:
            raise ValueError(
                f"the text tower's features have {found.shape[1]} numbers, the image tower's {self.text.shape[1]}; "
                "take both from one model"
            )
        self.text.copy_(found)

    def logits(self, images: Tensor) -> Tensor:
        """Zero-shot log-probabilities (B, K) of the classes, in a softmax over classes and background phrases."""
        embedded = self.backbone.embed(self.whole_patches(images))
        last = self.backbone.run(embedded, 0, self.backbone.depth)
        return image_logits(self.backbone, last.x, self.text, self.scale).log_softmax(1)[:, : self.num_classes]

    def activation_maps(self, images: Tensor) -> Tensor:
        return self.present_maps(images, images.new_ones(len(images), self.num_classes))

    def whole_patches(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) enlarged to the next multiple of a patch (bicubic), as published."""
        size = [-(-side // self.backbone.stride) * self.backbone.stride for side in images.shape[-2:]]
        if size == list(images.shape[-2:]):
            return images
        return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
