"""The interface of localisation methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
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

    Constructed from (backbone, class_names, settings): the names of the C = K + 1 classes, background first, and the
    component's `Settings`. `forward` is the training step, so that wrappers such as DistributedDataParallel apply.
    """

    num_classes: int
    """K, the number of foreground classes."""
    begins: Mapping[str, int] = {}
    """Setting of the method → training step, 0-based, from which on a part of it acts."""
    crop_scales: Collection[float] = (1.0,)
    """Scales of the views of a crop that the network sees in training."""

    def require_batch(self, images: int, edge: int) -> None:
        """Raises ValueError for a training batch that the method cannot use. edge: of the crops, in pixels."""

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named, weighted, scalar loss terms of training step `step` (0-based); their sum is minimised."""

    @abstractmethod
    def activation_maps(self, images: Tensor) -> Tensor:
        """Non-negative class maps (B, K, h, w) of one view (B, 3, H, W), before any fusion or normalisation."""

    def class_maps(self, images: Tensor) -> Tensor:
        """`activation_maps` before the ReLU, if the method has one."""
        return self.activation_maps(images)

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """`activation_maps`, except that maps of classes that no image has (labels (B, K)) may be 0.

        A method that names its classes may restrict its softmax to the present ones.
        """
        return self.activation_maps(images)

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of new layers, whose learning rate is `optimizer.head_lr_multiplier` × that of the backbone."""


@runtime_checkable
class DecodesMasks(Protocol):
    """A single-stage method, whose settings are marked `Decodes`."""

    def segment_logits(self, images: Tensor) -> Tensor:
        """Logits (B, C, h, w) of normalised images (B, 3, H, W), background first."""


@runtime_checkable
class LearnsFromFeatures(LocalisesStored, Protocol):
    """A method on stored features of a frozen network; its settings are marked `UsesFeatures`."""

    def fit(self, store: FeatureStore, records: Sequence[Record], device: torch.device) -> list[float]:
        """Trains on the stored features of the records; returns the loss of every step."""


@runtime_checkable
class ScoresHeldOut(Protocol):
    """A method whose training on stored features is fast enough for cross-validation."""

    def held_out(self, store: FeatureStore, records: Sequence[Record], parts: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (N, K), each from a classifier trained on all parts but the image's own. parts: indices."""


@runtime_checkable
class NamesClasses(Protocol):
    """A method that recognises classes by name, as every method without training does (settings: `Untrained`)."""

    def name_classes(self, class_names: Sequence[str], checkpoint: Path | None) -> None:
        """Prepares for K classes, before any training. checkpoint: the file of the backbone's weights, if any.

        Not called for a model file, which contains the results.
        """
