"""Training of AffinityNet on confident labels (Ahn & Kwak 2018, §3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.build import freeze
from wsss.data.dataset import Record
from wsss.data.loading import StoredLabels
from wsss.refine.affinitynet.labels import StoredScores, pooled_scores
from wsss.refine.affinitynet.network import AffinityNet, pair_labels, pair_losses
from wsss.refine.affinitynet.settings import Training
from wsss.refine.base import LabelOf, Reduce, Terms
from wsss.runtime.tensors import largest
from wsss.store.maps import ScoreStore, open_any
from wsss.training.session import Place


class AffinityNetTraining:
    """Builds the network and computes its three terms over the pairs of a batch."""

    def __init__(self, settings: Training) -> None:
        self.settings, self.pooled = settings, False

    def labels(self, path: Path, class_names: Sequence[str]) -> tuple[LabelOf, Reduce]:
        """Reader of pixel labels, which are pooled in the batch; or of scores, which are pooled before the argmax."""
        self.pooled = isinstance(open_any(path, class_names), ScoreStore)
        if not self.pooled:
            return StoredLabels(path, class_names), None
        augment = self.settings.training.augment
        if augment.longest_edge or augment.scale:
            raise ValueError(
                "train_affinity.training.augment resizes, and make_affinity_labels.scores keeps scores of pixels; set "
                "longest_edge and scale to null, or scores to false"
            )
        return StoredScores(path, class_names), partial(pooled_scores, stride=self.settings.stride)

    def build(self, backbone: Backbone) -> AffinityNet:
        return AffinityNet(backbone, self.settings.stride, self.settings.radius, self.settings.channels)

    def head_parameters(self, model: AffinityNet) -> Iterable[nn.Parameter]:
        freeze(model.backbone, self.settings.training)
        return model.head_parameters()

    def terms(self, model: AffinityNet, item: tuple[Any, Tensor], _step: int) -> Terms:
        batch, labels = item
        cells = labels if self.pooled else pool_labels(labels, model.stride)
        pairs = pair_labels(cells, model.offsets, self.settings.inner_pairs)
        return pair_losses(model(batch.images), pairs)

    def finish(self, model: AffinityNet, records: Sequence[Record], place: Place) -> None:
        """Nothing is measured afterwards."""


def pool_labels(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) class ids with 255 → (B, h, w): the most frequent value of each stride × stride block, 255 included."""
    present, compact = torch.unique(labels, return_inverse=True)
    votes = F.one_hot(compact, len(present)).permute(0, 3, 1, 2).float()
    return present[largest(F.avg_pool2d(votes, stride, ceil_mode=True), 1)]
