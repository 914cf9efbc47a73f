"""Training of a segmentation network on pseudo-labels, or on the masks as the upper bound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone, freeze_batch_norm
from wsss.config.stages import TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples, labelled
from wsss.runtime import distributed
from wsss.runtime.labels import IGNORE
from wsss.runtime.seeds import derive_seed
from wsss.segmentation.build import build_segmentation
from wsss.segmentation.network import Segmenter
from wsss.store.models import save_model
from wsss.training.session import Place, make_augment, train


def segmentation_loss(model: Segmenter, item: tuple[Any, Tensor], _step: int) -> dict[str, Tensor]:
    """Cross-entropy over the labelled pixels; 0 if there are none."""
    batch, labels = item
    total = F.cross_entropy(model(batch.images), labels, ignore_index=IGNORE, reduction="sum")
    count = distributed.batch_sum((labels != IGNORE).sum())
    return {"seg": total * distributed.processes() / count.clamp(min=1)}


def train_segmentation(
    settings: TrainSegmentation,
    dataset: Dataset,
    labels: Path | None,
    start: Callable[[], Backbone] | None,
    place: Place,
) -> None:
    """Writes `model.safetensors` and `history.csv` to `place`.

    labels: pseudo-labels of the training split; None: the ground truth.
    start: returns the backbone with the initial weights; None: those of the settings.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    backbone = start() if start else build_backbone(settings.backbone)
    if settings.training.freeze_stages is not None:
        backbone.freeze(settings.training.freeze_stages)
    model = build_segmentation(settings, len(dataset.class_names), backbone)
    if settings.training.freeze_batch_norm:
        freeze_batch_norm(model.encoder)
    augment = make_augment(settings.training.augment, model)
    records, label_of = labelled(dataset, labels, settings.correction_weight)
    samples = Samples(records, augment, settings.rng_seed, label_of)
    train(
        model,
        model.head_parameters(),
        segmentation_loss,
        samples,
        settings.training,
        settings.rng_seed,
        place,
    )
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    if place.writes:
        save_model(model, place.out / "model.safetensors", "segmentation", section, dataset.class_names)
