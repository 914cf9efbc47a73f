"""Training AffinityNet on confident labels (Ahn & Kwak 2018, §3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.build import freeze
from wsss.data.dataset import Record
from wsss.refine.affinitynet.network import AffinityNet, affinity_labels, affinity_loss
from wsss.refine.affinitynet.settings import Training
from wsss.refine.base import Terms
from wsss.training.session import Place


class AffinityNetTraining:
    """Builds the network and computes its three terms over the pairs of a batch."""

    def __init__(self, settings: Training) -> None:
        self.settings = settings

    def build(self, backbone: Backbone) -> AffinityNet:
        return AffinityNet(backbone, self.settings.stride, self.settings.radius, self.settings.channels)

    def head_parameters(self, model: AffinityNet) -> Iterable[nn.Parameter]:
        freeze(model.backbone, self.settings.training)
        return model.head_parameters()

    def terms(self, model: AffinityNet, item: tuple[Any, Tensor], _step: int) -> Terms:
        batch, labels = item
        pairs = affinity_labels(pool_labels(labels, model.stride), model.offsets, self.settings.inner_pairs)
        losses = affinity_loss(model(batch.images), pairs)
        return {
            "background": losses.background / 4,
            "foreground": losses.foreground / 4,
            "different": losses.different / 2,
        }

    def finish(self, model: AffinityNet, records: Sequence[Record], place: Place) -> None:
        """Nothing is measured afterwards."""


def pool_labels(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) class ids with 255 → (B, h, w): the commonest of each stride × stride block, 255 included."""
    present, compact = torch.unique(labels, return_inverse=True)
    votes = F.one_hot(compact, len(present)).permute(0, 3, 1, 2).float()
    return present[F.avg_pool2d(votes, stride, ceil_mode=True).argmax(1)]
