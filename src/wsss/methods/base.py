"""What the pipeline asks of a localisation method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor, nn

from wsss.data.batch import Batch
from wsss.localise.base import LocalisesStored

if TYPE_CHECKING:
    import numpy as np
    import torch

    from wsss.data.dataset import Record
    from wsss.store.features import FeatureStore


class Method(nn.Module, ABC):
    """A classifier whose activations localise the classes it was trained on.

    Built of (backbone, class_names, settings): the names of the C = K + 1 classes, the background's first, and the
    component's `Settings`. `forward` is the training step, so that wrappers such as DistributedDataParallel see it.
    """

    num_classes: int
    """K, the number of foreground classes."""

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named, weighted, scalar loss terms of training step `step` (0-based); their sum is minimised."""

    @abstractmethod
    def activation_maps(self, images: Tensor) -> Tensor:
        """Non-negative class maps (B, K, h, w) of one view (B, 3, H, W), before any fusion or normalisation."""

    def class_maps(self, images: Tensor) -> Tensor:
        """The same before ReLU: with its negative values, where the method has any."""
        return self.activation_maps(images)

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """`activation_maps`, of which those of classes that no image has (labels (B, K)) may be left 0.

        A method that names its classes may let present ones compete with each other alone.
        """
        return self.activation_maps(images)

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """New parameters, which papers train with a larger learning rate than the pretrained ones."""


@runtime_checkable
class DecodesMasks(Protocol):
    """A single-stage method, whose settings are marked `Decodes`."""

    def segment_logits(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w) of normalised images (B, 3, H, W), background first."""


@runtime_checkable
class LearnsFromFeatures(LocalisesStored, Protocol):
    """A method on features of a frozen network; its settings are marked `UsesFeatures`."""

    def fit(self, store: FeatureStore, records: Sequence[Record], device: torch.device) -> list[float]:
        """Learns from the stored features of the records; the loss of every step."""


@runtime_checkable
class ScoresHeldOut(Protocol):
    """A method that learns so fast from stored features that it can do so once for each part of the images."""

    def held_out(self, store: FeatureStore, records: Sequence[Record], parts: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (N, K) of images, each by a classifier that learned from all parts but the image's own."""


@runtime_checkable
class NamesClasses(Protocol):
    """A method that knows its classes by name, as all that train nothing do (settings marked `Untrained`)."""

    def name_classes(self, class_names: Sequence[str], checkpoint: Path | None) -> None:
        """Prepares for K classes, before any training; checkpoint: the backbone's weights, where a file was named.

        A model file needs no second call: what this reads from outside lies in it.
        """
