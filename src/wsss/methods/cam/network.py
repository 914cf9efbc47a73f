"""Class activation maps: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.data.batch import Batch
from wsss.methods.base import Method
from wsss.methods.cam.settings import Settings
from wsss.methods.pooling import pool

_INITS = {
    "kaiming": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "xavier": nn.init.xavier_uniform_,
    "zeros": nn.init.zeros_,
}


class CAM(Method):
    """Backbone, global pooling and a linear classifier, which is also applied at every position."""

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.pooling = backbone, len(class_names) - 1, settings.pooling
        self.dropout = nn.Dropout2d(settings.dropout)
        self.classifier = nn.Conv2d(backbone.channels, self.num_classes, 1, bias=False)
        _INITS[settings.init](self.classifier.weight)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        return {"cls": F.multilabel_soft_margin_loss(self.logits(batch.images), batch.labels)}

    def activation_maps(self, images: Tensor) -> Tensor:
        return F.relu(self.class_maps(images))

    def class_maps(self, images: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.backbone(images)))

    def logits(self, images: Tensor) -> Tensor:
        # The published order is pooling, then classifier; without a bias, averages are the same.
        return pool(self.class_maps(images), self.pooling)

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.classifier.parameters())
