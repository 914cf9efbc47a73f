"""Protocols of a refinement, and of the training and the labels of its network, if it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from wsss.backbones.base import Backbone
    from wsss.data.dataset import Record
    from wsss.store.features import FeatureStore
    from wsss.store.maps import ScoreMap
    from wsss.training.session import Place

Terms = dict[str, Tensor]
LabelOf = Callable[["Record"], np.ndarray]
Reduce = Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Models:
    """Model files that a refinement may read.

    classifier: of train_classifier. affinity: of train_affinity; None if the refinement trains no network.
    """

    classifier: Path
    affinity: Path | None = None


class Refines(Protocol):
    """Constructed from (settings, models, device), then called with groups of images of equal size."""

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (1 + k, H, W) in [0, 1] of each image, background first.

        images: (B, H, W, 3) uint8. maps: of each image (k, H, W) in [0, 1], of its present classes, on the device; with
            the setting `start: strided`, of every 4th pixel (k, ⌈H/4⌉, ⌈W/4⌉).
        """


class RefinesStored(Protocol):
    """A refinement on stored features instead of the images; its settings are marked `UsesFeatures`."""

    def of_stored(self, store: FeatureStore, record: Record, maps: Tensor) -> Tensor:
        """As `Refines`, for one image's maps (k, H, W)."""


class Supervises(Protocol):
    """Constructed from (settings, device): makes the confident labels that supervise an affinity network."""

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray] | list[ScoreMap]:
        """Labels (H, W) uint8 of each image (H, W, 3) uint8: class ids where confident, else 255.

        Or score maps, which training converts to labels; the settings then have `scores`.
        """


class SupervisesStored(Protocol):
    """As `Supervises`, from stored features; the settings are marked `UsesFeatures`."""

    def of_stored(self, store: FeatureStore, record: Record, maps: ScoreMap) -> np.ndarray | ScoreMap:
        """Labels or score maps of one image."""


class TrainsAffinity(Protocol):
    """Constructed from its settings: builds an affinity network and computes its losses."""

    def build(self, backbone: Backbone) -> nn.Module:
        """The network on a backbone."""

    def labels(self, path: Path, class_names: Sequence[str]) -> tuple[LabelOf, Reduce]:
        """(function that reads a record's labels from the file of `Supervises`, function applied to their crop)."""

    def head_parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """Parameters of the new layers, trained at a larger learning rate; also freezes what is not trained."""

    def terms(self, model: nn.Module, item: tuple[Any, Tensor], step: int) -> Terms:
        """Named, weighted, scalar loss terms of an item (Batch, label maps (B, H, W))."""

    def finish(self, model: nn.Module, records: Sequence[Record], place: Place) -> None:
        """Called after training, for statistics that the model stores."""


class FitsAffinity(Protocol):
    """Constructed from its settings, which are marked `UsesFeatures`: trains a network on stored features."""

    def fit(
        self,
        store: FeatureStore,
        labels: Path,
        records: Sequence[Record],
        class_names: Sequence[str],
        device: torch.device,
    ) -> tuple[nn.Module, list[float]]:
        """The network, and the loss of every step. labels: the file of `SupervisesStored`."""
