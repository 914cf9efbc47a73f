"""Trains a classifier on image-level labels, or takes a published one; its activations localise the classes."""

from __future__ import annotations

from pathlib import Path

import torch

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples, derive_seed
from wsss.methods.base import Method
from wsss.model_file import save_model
from wsss.models import build_method, freeze
from wsss.stages.common import stage_parser, stage_session
from wsss.training.board import write_sample_cams
from wsss.training.loop import state_lock, write_history
from wsss.training.session import Place, make_augment, place_from, train, training_arguments


class Settings(schema.TrainClassifier):
    """The section of the configuration, and the run's seed."""

    rng_seed: int = 0


def train_classifier(settings: Settings, dataset: Dataset, place: Place) -> None:
    """Writes `model.safetensors` and `history.csv` to the place; the latter is empty where nothing is trained."""
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    model = build_method(settings, len(dataset.class_names) - 1)
    if settings.training is None:
        write_history({"lr": []}, place.out / "history.csv")
    else:
        _train(model, settings, dataset, place)
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    if place.writes:
        save_model(model, place.out / "model.safetensors", "classifier", section, dataset.class_names)
    if place.tensorboard and place.writes:
        write_sample_cams(place.events, model, dataset.split("train"), dataset.class_names)


def _train(model: Method, settings: Settings, dataset: Dataset, place: Place) -> None:
    freeze(model, model.backbone, settings.training)
    augment = make_augment(settings.training.augment, model.backbone)
    samples = Samples(dataset.split("train"), augment, settings.rng_seed)
    train(
        model,
        model.head_parameters(),
        lambda model, item, step: model(item[0], step),
        samples,
        settings.training,
        settings.rng_seed,
        place,
    )


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    args = parser.parse_args()
    with stage_session("train_classifier", args):
        place = place_from(args)
        with state_lock(place.state):
            train_classifier(load_section(Settings, args.config), Dataset(args.data), place)


if __name__ == "__main__":
    main()
