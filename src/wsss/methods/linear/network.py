"""Logistic regression on the pooled features of a frozen network; at every position it gives CAMs (Zhou 2016)."""

from __future__ import annotations

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
from wsss.methods.linear.images import Averaged, Images, Positions
from wsss.methods.linear.settings import Settings
from wsss.methods.pooling import pool
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
        """Trains the classifier in a fixed order of images; returns the loss of each step."""
        self.to(device)
        images = self.images(store, records, store.scales)
        labels = _labels(records, device).repeat(len(store.scales), 1)
        return fit_classifier(self.classifier, images, labels, torch.ones(len(labels), 1, device=device), self.settings)

    def held_out(self, store: FeatureStore, records: Sequence[Record], parts: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (N, K), each from a classifier trained on all parts but the image's own.

        parts: indices of records, a partition of all of them.
        """
        device = self.classifier.weight.device
        part_of = torch.empty(len(records), dtype=torch.long, device=device)
        for number, part in enumerate(parts):
            part_of[torch.from_numpy(part)] = number
        images = self.images(store, records, [store.own_scale])
        classifiers = nn.Conv2d(self.classifier.in_channels, len(parts) * self.num_classes, 1, bias=self.settings.bias)
        for parameter in classifiers.to(device).parameters():
            nn.init.zeros_(parameter)
        taught = (part_of[:, None] != torch.arange(len(parts), device=device)).float()
        fit_classifier(classifiers, images, _labels(records, device), taught, self.settings)
        with torch.inference_mode():
            scores = images.scores(classifiers).unflatten(1, (len(parts), -1))
            return scores[torch.arange(len(records)), part_of].sigmoid().cpu().numpy()

    def images(self, store: FeatureStore, records: Sequence[Record], scales: Sequence[float]) -> Images:
        """The records' stored features at some scales, as the pooling needs them."""
        about = (store, records, scales, self.settings.stage)
        if self.settings.pooling == "average":
            return Averaged(*about, self.classifier.weight.device)
        return Positions(*about, self.settings.pooling)

    def feature_maps(self, features: Tensor) -> Tensor:
        """Class maps (B, K, h, w) of the stage's features (B, D, h, w), before ReLU and without the bias."""
        return F.conv2d(features, self.classifier.weight)

    def stored_maps(self, store: FeatureStore, image_id: str, scale: float) -> Tensor:
        found = torch.from_numpy(store.stage(image_id, scale, self.settings.stage)).float()
        return F.relu(self.feature_maps(found.to(self.classifier.weight.device)))

    def stored_logits(self, store: FeatureStore, records: Sequence[Record]) -> Tensor:
        return self.images(store, records, [store.own_scale]).scores(self.classifier)

    def activation_maps(self, images: Tensor) -> Tensor:
        return F.relu(self.class_maps(images))

    def class_maps(self, images: Tensor) -> Tensor:
        return self.feature_maps(self._features(images))

    def logits(self, images: Tensor) -> Tensor:
        return pool(self.classifier(self._features(images)), self.settings.pooling)

    def head_parameters(self) -> list[nn.Parameter]:
        return list(self.classifier.parameters())

    def _features(self, images: Tensor) -> Tensor:
        return wanted_stages(self.backbone, images, [self.settings.stage])[0]


def _labels(records: Sequence[Record], device: torch.device) -> Tensor:
    """Image-level labels (N, K)."""
    return torch.stack([torch.from_numpy(record.labels) for record in records]).to(device)


def fit_classifier(
    classifiers: nn.Conv2d, images: Images, labels: Tensor, taught: Tensor, settings: Settings
) -> list[float]:
    """Trains several classifiers at once, each on images of its own; returns the sum of their losses for every step.

    classifiers: D → F·K. labels: (N, K). taught: (N, F), 1 where an image is one of a classifier's.
    """

    def loss(step: int) -> Tensor:
        chosen = images.of_step(step)
        scores = images.scores(classifiers, chosen).unflatten(1, (taught.shape[1], -1))
        label, of_classifier = labels[chosen][:, None].expand_as(scores), taught[chosen]
        errors = F.binary_cross_entropy_with_logits(scores, label, reduction="none").mean(2)
        return ((errors * of_classifier).sum(0) / of_classifier.sum(0).clamp(min=1)).sum()

    return minimise(classifiers, loss, steps=settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
