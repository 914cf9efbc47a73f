"""What the pipeline asks of a localisation method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Batch:
    """One training batch.

    images: (B, 3, H, W) float32, normalised with the backbone's mean and std; padding is 0.
    labels: (B, K) float32 in {0, 1}, image-level labels without background.
    boxes: (B, 4) int64, (top, bottom, left, right) of the photograph inside the crop; outside is padding.
    extra: what the method's own augmentation added (further views of the same images), if any.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        move = lambda t: t.to(device, non_blocking=True)  # noqa: E731
        extra = {k: move(v) for k, v in self.extra.items()}
        return Batch(move(self.images), move(self.labels), move(self.boxes), extra)


class Method(nn.Module, ABC):
    """A classifier whose activations localise the classes it was trained on.

    `forward` is the training step, so that wrappers such as DistributedDataParallel see it.
    """

    num_classes: int
    """K, the number of foreground classes."""

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named, weighted, scalar loss terms of training step `step` (0-based); their sum is minimised."""

    @abstractmethod
    def activation_maps(self, images: Tensor) -> Tensor:
        """Non-negative class maps (B, K, h, w) of one view (B, 3, H, W), before any fusion or normalisation."""

    def present_maps(self, images: Tensor, labels: Tensor) -> Tensor:
        """`activation_maps`, of which those of classes that no image has (labels (B, K)) may be left 0."""
        return self.activation_maps(images)

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Class scores (B, K) before the sigmoid."""

    @abstractmethod
    def head_parameters(self) -> list[nn.Parameter]:
        """New parameters, which papers train with a larger learning rate than the pretrained ones."""
