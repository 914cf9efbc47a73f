"""Training of a classifier on image-level labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from wsss.backbones.build import freeze
from wsss.config.stages import TrainClassifier
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples
from wsss.localise.inference import image_scores, stored_image_scores
from wsss.localise.samples import write_sample_cams
from wsss.measure.ranking import average_precision
from wsss.methods.base import Method, NamesClasses
from wsss.methods.load import build_method
from wsss.runtime.files import write_csv
from wsss.runtime.progress import log
from wsss.runtime.seeds import derive_seed
from wsss.store.features import FeatureFiles
from wsss.store.models import save_model
from wsss.training.loop import write_history
from wsss.training.session import Place, make_augment, train


def train_classifier(
    settings: TrainClassifier, dataset: Dataset, place: Place, features: FeatureFiles | None = None
) -> None:
    """Writes `model.safetensors`, `history.csv` and `average_precision.csv` to `place`.

    features: stored features of a frozen network, for methods that use them. Without training the history is empty.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    model = build_method(settings, dataset.class_names)
    if isinstance(model, NamesClasses):
        checkpoint = settings.backbone.checkpoint
        model.name_classes(dataset.class_names[1:], checkpoint and checkpoint.path)
    if features is not None:
        losses = model.fit(features.open("train"), dataset.split("train"), place.device)
        write_history({"lr": [settings.method.lr] * len(losses), "cls": losses}, place.out / "history.csv")
    elif settings.training is None:
        write_history({"lr": []}, place.out / "history.csv")
    else:
        _train(model, settings, dataset, place)
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    if place.writes:
        measure(model, dataset, place, features)
        save_model(model, place.out / "model.safetensors", "classifier", section, dataset.class_names)
    if place.tensorboard and place.writes:
        write_sample_cams(place.events, model, dataset.split("train"), dataset.class_names)


def _train(model: Method, settings: TrainClassifier, dataset: Dataset, place: Place) -> None:
    freeze(model.backbone, settings.training)
    augment = make_augment(settings.training.augment, model.backbone)
    samples = Samples(dataset.split("train"), augment, settings.rng_seed)
    steps = settings.training.steps(len(samples.records))
    for name, first in model.begins.items():
        if first >= steps:
            log.warning("method.%s is %d, and the last step %d: what begins there never acts", name, first, steps - 1)
    train(
        model,
        model.head_parameters(),
        lambda model, item, step: model(item[0], step),
        samples,
        settings.training,
        settings.rng_seed,
        place,
    )


def measure(model: Method, dataset: Dataset, place: Place, features: FeatureFiles | None = None) -> None:
    """Writes the average precision of each class on val, and their mean, in percent; needs image labels only.

    A class in all images, or in none, has none: any classifier would reach 100 %.
    """
    records, names = dataset.split("val"), dataset.class_names[1:]
    table = pd.DataFrame({"class": names, "images": 0, "average_precision": np.nan})
    if records:
        model = model.to(place.device).eval()
        if features is None:
            scores, labels = image_scores(model, records, place.device)
        else:
            scores, labels = stored_image_scores(model, features.open("val"), records)
        table["images"] = labels.sum(0).astype(int)
        table["average_precision"] = np.where(labels.all(0), np.nan, 100 * average_precision(scores, labels))
        mean = table["average_precision"].mean()
        table.loc[len(table)] = ["mean", len(records), mean]
        if np.isnan(mean):
            log.info(
                "average precision on val is not measured: no class is in some of its %d images only", len(records)
            )
        else:
            log.info("mean average precision on val: %.1f %%", mean)
    write_csv(table, place.out / "average_precision.csv", digits=2)
