"""Protocols of the networks that localise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from wsss.backbones.base import Backbone

if TYPE_CHECKING:
    from wsss.data.dataset import Record
    from wsss.store.features import FeatureStore


@runtime_checkable
class Localises(Protocol):
    """A classifier whose activations localise the K classes that it was trained on."""

    backbone: Backbone
    num_classes: int

    def activation_maps(self, images: Tensor) -> Tensor:
        """Non-negative class maps (B, K, h, w) of one view (B, 3, H, W), before any fusion or normalisation."""

    def class_maps(self, images: Tensor) -> Tensor:
        """`activation_maps` before the ReLU, if the method has one."""

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """`activation_maps`, except that maps of classes that no image has (labels (B, K)) may be 0."""

    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""


@runtime_checkable
class LocalisesStored(Protocol):
    """A classifier on the features stored by compute_features, which needs no images."""

    def stored_maps(self, store: FeatureStore, image_id: str, scale: float) -> Tensor:
        """`activation_maps` (n, K, h, w) of stored features; n = 2 with the mirror image."""

    def stored_logits(self, store: FeatureStore, records: Sequence[Record]) -> Tensor:
        """`logits` (N, K) of stored features."""
