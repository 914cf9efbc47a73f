"""Trains AffinityNet on pairs of confidently labelled pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples, StoredLabels, derive_seed
from wsss.models import build_backbone, freeze, read_model, save_model
from wsss.refine.affinity import AffinityNet, affinity_labels, affinity_loss
from wsss.stages.common import stage_parser, stage_session
from wsss.training.loop import state_lock
from wsss.training.session import Place, make_augment, place_from, train, training_arguments

IGNORE = 255


class Settings(schema.TrainAffinity):
    """The section of the configuration, and the run's seed."""

    rng_seed: int = 0


def pool_labels(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) class ids with 255 → (B, h, w): the commonest of each stride × stride block, 255 included."""
    present, compact = torch.unique(labels, return_inverse=True)
    votes = F.one_hot(compact, len(present)).permute(0, 3, 1, 2).float()
    return present[F.avg_pool2d(votes, stride, ceil_mode=True).argmax(1)]


def affinity_losses(model: AffinityNet, item: tuple[Any, Tensor], _step: int) -> dict[str, Tensor]:
    """The three weighted terms over the pairs of a batch."""
    batch, labels = item
    pairs = affinity_labels(pool_labels(labels, model.stride), model.offsets)
    losses = affinity_loss(model(batch.images), pairs)
    return {
        "background": losses.background / 4,
        "foreground": losses.foreground / 4,
        "different": losses.different / 2,
    }


def train_affinity(settings: Settings, dataset: Dataset, classifier: Path, labels: Path, place: Place) -> None:
    """Writes `model.safetensors` and `history.csv` to the place; the backbone starts as the classifier's."""
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    tensors, section, _ = read_model(classifier, "classifier")
    backbone = build_backbone(schema.TrainClassifier.model_validate(section).backbone, weights=False)
    prefix = "backbone."
    backbone.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    model = AffinityNet(backbone, settings.stride, settings.radius, settings.channels)
    freeze(model, backbone, settings.training)
    augment = make_augment(settings.training.augment, backbone)
    samples = Samples(dataset.split("train"), augment, settings.rng_seed, StoredLabels(labels))
    train(model, model.head_parameters(), affinity_losses, samples, settings.training, settings.rng_seed, place)
    built = {"affinity": settings.model_dump(mode="json"), "backbone": section["backbone"]}
    save_model(model, place.out / "model.safetensors", "affinity", built, dataset.class_names)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--labels", type=Path, required=True, help="train.h5 of make_affinity_labels")
    args = parser.parse_args()
    with stage_session("train_affinity", args):
        place = place_from(args)
        with state_lock(place.state):
            settings = load_section(Settings, args.config)
            train_affinity(settings, Dataset(args.data), args.classifier, args.labels, place)


if __name__ == "__main__":
    main()
