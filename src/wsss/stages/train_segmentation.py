"""Trains a segmentation network on pseudo-labels, or on the masks as the upper bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.backbones.build import build_backbone, freeze_batch_norm
from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.augment import IGNORE
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples, StoredLabels, derive_seed, mask_reader
from wsss.methods.load import load_classifier
from wsss.runtime import distributed
from wsss.segmentation.load import build_segmentation
from wsss.segmentation.network import SegmentationNet
from wsss.stages.common import stage_parser, stage_session
from wsss.store.models import save_model
from wsss.training.loop import state_lock
from wsss.training.session import Place, make_augment, place_from, train, training_arguments


class Settings(schema.TrainSegmentation):
    """The section of the configuration, and the run's seed."""

    rng_seed: int = 0


def segmentation_loss(model: SegmentationNet, item: tuple[Any, Tensor], _step: int) -> dict[str, Tensor]:
    """Cross-entropy over the labelled pixels; 0, not NaN, if there are none."""
    batch, labels = item
    total = F.cross_entropy(model(batch.images), labels, ignore_index=IGNORE, reduction="sum")
    count = distributed.batch_sum((labels != IGNORE).sum())
    return {"seg": total * distributed.processes() / count.clamp(min=1)}


def train_segmentation(
    settings: Settings, dataset: Dataset, labels: Path | None, classifier: Path | None, place: Place
) -> None:
    """Writes `model.safetensors` and `history.csv` to the place.

    labels: pseudo-labels of the training split; None: the ground truth. classifier: initial weights, if any.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    backbone = load_classifier(classifier).backbone if classifier else build_backbone(settings.backbone)
    if settings.training.freeze_stages is not None:
        backbone.freeze(settings.training.freeze_stages)
    model = build_segmentation(settings, len(dataset.class_names), backbone)
    if settings.training.freeze_batch_norm:
        freeze_batch_norm(model.net.encoder)
    augment = make_augment(settings.training.augment, model)
    label_of = StoredLabels(labels, dataset.class_names) if labels else mask_reader
    samples = Samples(dataset.split("train"), augment, settings.rng_seed, label_of)
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


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--labels", type=Path, help="train.h5 of make_pseudo_labels; without it, the masks")
    parser.add_argument("--classifier", type=Path, help="model.safetensors whose backbone to start from")
    args = parser.parse_args()
    with stage_session("train_segmentation", args):
        place = place_from(args)
        with state_lock(place.state):
            settings = load_section(Settings, args.config)
            train_segmentation(settings, Dataset(args.data), args.labels, args.classifier, place)


if __name__ == "__main__":
    main()
