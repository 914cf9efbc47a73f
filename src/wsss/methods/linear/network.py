"""Logistic regression on the pooled features of a frozen network; at every position it gives CAMs (Zhou 2016)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.backbones.stages import stage_channels, wanted_stages
from wsss.data.batch import Batch
from wsss.data.dataset import Record
from wsss.methods.base import Method
from wsss.methods.linear.settings import Settings
from wsss.store.features import FeatureStore
from wsss.training.optim import minimise


class LinearMethod(Method):
    """A frozen backbone and a linear classifier; `fit` learns the classifier from stored features."""

    def __init__(self, backbone: Backbone, class_names: Sequence[str], settings: Settings) -> None:
        super().__init__()
        self.settings, self.backbone = settings, backbone.requires_grad_(False)
        self.num_classes = len(class_names) - 1
        channels = stage_channels(backbone, settings.stage)
        self.classifier = nn.Conv2d(channels, self.num_classes, 1, bias=settings.bias)
        nn.init.zeros_(self.classifier.weight)
        if settings.bias:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        raise ValueError("method linear learns from stored features: set train_classifier.training to null")

    def fit(self, store: FeatureStore, records: Sequence[Record], device: torch.device) -> list[float]:
        """Trains the classifier by full-batch steps, independent of the images' order; returns the loss of each."""
        pooled = torch.cat([self.pooled(store, records, scale) for scale in store.scales]).to(device)
        labels = torch.stack([torch.from_numpy(record.labels) for record in records])
        labels = labels.repeat(len(store.scales), 1).to(device)
        self.to(device)
        return fit_classifier(self.classifier, pooled, labels, self.settings)

    def held_out(self, store: FeatureStore, records: Sequence[Record], parts: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (N, K), each from a classifier trained on all parts but the image's own.

        parts: indices of records, a partition of all of them.
        """
        pooled = self.pooled(store, records, store.own_scale)
        labels = torch.stack([torch.from_numpy(record.labels) for record in records])
        found = torch.empty(labels.shape)
        for part in parts:
            rest = np.setdiff1d(np.arange(len(records)), part)
            classifier = copy.deepcopy(self.classifier).requires_grad_(True)
            for parameter in classifier.parameters():
                nn.init.zeros_(parameter)
            fit_classifier(classifier, pooled[rest], labels[rest], self.settings)
            with torch.inference_mode():
                found[part] = scores_of(classifier, pooled[part]).sigmoid()
        return found.numpy()

    def pooled(self, store: FeatureStore, records: Sequence[Record], scale: float) -> Tensor:
        """Each image's features at a scale, averaged over positions and mirror: (N, D)."""
        maps = (torch.from_numpy(store.stage(r.image_id, scale, self.settings.stage)) for r in records)
        return torch.stack([found.float().mean((0, 2, 3)) for found in maps])

    def feature_maps(self, features: Tensor) -> Tensor:
        """Class maps (B, K, h, w) of the stage's features (B, D, h, w), before ReLU and without the bias."""
        return F.conv2d(features, self.classifier.weight)

    def stored_maps(self, store: FeatureStore, image_id: str, scale: float) -> Tensor:
        found = torch.from_numpy(store.stage(image_id, scale, self.settings.stage)).float()
        return F.relu(self.feature_maps(found.to(self.classifier.weight.device)))

    def stored_logits(self, store: FeatureStore, records: Sequence[Record]) -> Tensor:
        pooled = self.pooled(store, records, store.own_scale).to(self.classifier.weight.device)
        return scores_of(self.classifier, pooled)

    def activation_maps(self, images: Tensor) -> Tensor:
        return F.relu(self.class_maps(images))

    def class_maps(self, images: Tensor) -> Tensor:
        return self.feature_maps(self._features(images))

    def logits(self, images: Tensor) -> Tensor:
        return scores_of(self.classifier, self._features(images).mean((2, 3)))

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.classifier.parameters())

    def _features(self, images: Tensor) -> Tensor:
        return wanted_stages(self.backbone, images, [self.settings.stage])[0]


def fit_classifier(classifier: nn.Conv2d, pooled: Tensor, labels: Tensor, settings: Settings) -> list[float]:
    """Trains a classifier (D → K) on pooled features (N, D) and labels (N, K); returns the loss of every step."""
    return minimise(
        classifier,
        lambda _step: F.multilabel_soft_margin_loss(scores_of(classifier, pooled), labels),
        steps=settings.steps,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
    )


def scores_of(classifier: nn.Conv2d, pooled: Tensor) -> Tensor:
    """Scores (N, K) of pooled features (N, D): the classifier as a matrix, faster than at one position."""
    return F.linear(pooled, classifier.weight[..., 0, 0], classifier.bias)
