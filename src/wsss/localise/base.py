"""What localisation asks of a network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from wsss.backbones.base import Backbone


@runtime_checkable
class Localises(Protocol):
    """A classifier whose activations localise the K classes that it was trained on."""

    backbone: Backbone
    num_classes: int

    def activation_maps(self, images: Tensor) -> Tensor:
        """Non-negative class maps (B, K, h, w) of one view (B, 3, H, W), before any fusion or normalisation."""

    def class_maps(self, images: Tensor) -> Tensor:
        """The same with its negative values, where the method has any."""

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """`activation_maps`, of which those of classes that no image has (labels (B, K)) may be left 0."""

    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""
