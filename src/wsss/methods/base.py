"""What the pipeline asks of a localisation method."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from wsss.data.batch import Batch


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
        """`activation_maps`, of which those of classes that no image has (labels (B, K)) may be left 0."""
        return self.activation_maps(images)

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """New parameters, which papers train with a larger learning rate than the pretrained ones."""
