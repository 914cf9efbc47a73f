"""CLIP's image tower (Radford 2021), with the projection to the joint space of images and texts."""

from __future__ import annotations

from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.vit import ViTBackbone


class CLIPBackbone(ViTBackbone):
    """A `ViTBackbone` of timm's CLIP networks, with CLIP's projection D → E (no bias).

    OpenAI's weights need `vit_*_clip_quickgelu_*`: timm's other `vit_*_clip_*` have the exact GELU.

    Args:
        name, options and others: as in `ViTBackbone`. projection: E; None: timm's value for `name`.
    """

    def __init__(
        self,
        name: str,
        *,
        projection: int | None = None,
        pretrained: bool = False,
        options: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        cfg = timm.get_pretrained_cfg(name)
        width = projection or (cfg.num_classes if cfg else 0)
        head = {"num_classes": width} if pretrained else {}  # timm keeps the projection as its classifier
        super().__init__(name, pretrained=pretrained, options=head | dict(options or {}), **arguments)
        self.projection = nn.Linear(self.channels, width, bias=False)
        if pretrained:
            self.projection.weight = self.net.head.weight
            self.net.reset_classifier(0, "")

    def project(self, normed: Tensor) -> Tensor:
        """Features (…, D) after the final norm → unit vectors (…, E), comparable with text features."""
        return F.normalize(self.projection(normed), dim=-1)
