"""What the pipeline asks of a refinement: its maps, and where it trains a network, that network and its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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
    """The trained networks that a refinement may read.

    classifier: model file of train_classifier. affinity: of train_affinity; None where nothing is trained.
    """

    classifier: Path
    affinity: Path | None = None


class Refines(Protocol):
    """Made of (settings, models, device); then called for groups of images of one size."""

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (1 + k, H, W) in [0, 1] of each image, background first.

        images: (B, H, W, 3) uint8. maps: of each image (k, H, W) in [0, 1], its present classes, on the device; or, for
            settings with `start: strided`, those of every 4th pixel (k, ⌈H/4⌉, ⌈W/4⌉).
        """


@runtime_checkable
class RefinesStored(Protocol):
    """A refinement that needs no photograph where features of a frozen network are stored."""

    def of_stored(self, store: FeatureStore, record: Record, maps: Tensor) -> Tensor:
        """As `Refines`, of one image's maps (k, H, W)."""


class Supervises(Protocol):
    """Made of (settings, device): confident labels that an affinity network learns from."""

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray] | list[ScoreMap]:
        """(H, W) uint8 of each image (H, W, 3) uint8: class ids where there is no doubt, 255 elsewhere.

        Or scores, for a training that makes labels of them.
        """


class TrainsAffinity(Protocol):
    """Made of its settings: how an affinity network is built and trained."""

    def build(self, backbone: Backbone) -> nn.Module:
        """The network on a backbone."""

    def labels(self, path: Path, class_names: Sequence[str]) -> tuple[LabelOf, Reduce]:
        """What is read of a record from the file of `Supervises`, and what becomes of its crop."""

    def head_parameters(self, model: nn.Module) -> Iterable[nn.Parameter]:
        """New parameters, which train with a larger learning rate; freezes what is not trained."""

    def terms(self, model: nn.Module, item: tuple[Any, Tensor], step: int) -> Terms:
        """Named, weighted, scalar loss terms of a (Batch, label maps (B, H, W))."""

    def finish(self, model: nn.Module, records: Sequence[Record], place: Place) -> None:
        """What is measured once training is over."""


def crf_device(backend: str, device: torch.device) -> torch.device:
    """Where a CRF computes: pydensecrf knows the CPU only."""
    return torch.device("cpu") if backend == "pydensecrf" else device
