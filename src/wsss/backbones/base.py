"""The interface of backbones for methods, affinity networks and decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Normalisation of most networks trained on ImageNet, for images in [0, 1]."""


class Backbone(nn.Module, ABC):
    """A network without classifier.

    channels: D, of the final features.
    stride: input pixels per cell of the final features.
    pyramid_channels, pyramid_strides: of each stage output, shallow to deep.
    mean, std: per-channel input normalisation, for images in [0, 1].
    has_keys: whether `features_pyramid_keys` exists.
    """

    has_keys = False

    channels: int
    stride: int
    pyramid_channels: list[int]
    pyramid_strides: list[int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Final features (B, D, h, w) of normalised images (B, 3, H, W)."""

    @abstractmethod
    def features_and_pyramid(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Final features and every stage's output, shallow to deep, in one pass."""

    def features_pyramid_keys(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """As `features_and_pyramid`, and the last block's attention keys (B, D, h, w); transformers only."""
        raise NotImplementedError(f"{type(self).__name__} has no attention keys")

    @abstractmethod
    def freeze(self, stages: int) -> None:
        """Stop training the stem and the first `stages` stages (0: the stem alone)."""


def require_stages(given: int, there: int, network: str) -> None:
    """Raises ValueError for a number of stages to freeze that the network does not have."""
    if not 0 <= given <= there:
        raise ValueError(f"{network} has {there} stages; cannot freeze {given}")
