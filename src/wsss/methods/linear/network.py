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
from wsss.methods.linear.images import Averaged, Images, Numbers, Positions
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
        labels = torch.stack([torch.from_numpy(record.labels) for record in records])
        labels = labels.repeat(len(store.scales), 1).to(device)
        return fit_classifier(self.classifier, images, labels, slice(None), self.settings)

    def held_out(self, store: FeatureStore, records: Sequence[Record], parts: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (N, K), each from a classifier trained on all parts but the image's own.

        parts: indices of records, a partition of all of them.
        """
        images = self.images(store, records, [store.own_scale])
        labels = torch.stack([torch.from_numpy(record.labels) for record in records])
        found = torch.empty(labels.shape)
        for part in parts:
            rest = np.setdiff1d(np.arange(len(records)), part)
            classifier = copy.deepcopy(self.classifier).requires_grad_(True)
            for parameter in classifier.parameters():
                nn.init.zeros_(parameter)
            fit_classifier(classifier, images, labels, rest, self.settings)
            with torch.inference_mode():
                found[part] = images.scores(classifier, part).sigmoid()
        return found.numpy()

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
        return self.images(store, records, [store.own_scale]).scores(self.classifier, slice(None))

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


def fit_classifier(
    classifier: nn.Conv2d, images: Images, labels: Tensor, numbers: Numbers, settings: Settings
) -> list[float]:
    """Trains a classifier (D → K) on some of the images with labels (N, K); returns the loss of every step."""

    def loss(step: int) -> Tensor:
        chosen = images.of_step(numbers, step)
        return F.multilabel_soft_margin_loss(images.scores(classifier, chosen), labels[chosen])

    return minimise(classifier, loss, steps=settings.steps, lr=settings.lr, weight_decay=settings.weight_decay)
