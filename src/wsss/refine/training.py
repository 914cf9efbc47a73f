"""Training of an affinity network on confident labels."""

from __future__ import annotations

from pathlib import Path

import torch

from wsss.backbones.build import build_backbone, classifier_backbone
from wsss.backbones.checkpoints import load_published
from wsss.config.stages import TrainAffinity
from wsss.data.dataset import Dataset
from wsss.data.loading import Samples
from wsss.runtime.seeds import derive_seed
from wsss.store.features import FeatureFiles
from wsss.store.models import save_model
from wsss.training.loop import write_history
from wsss.training.session import Place, make_augment, train


def train_affinity(
    settings: TrainAffinity,
    dataset: Dataset,
    classifier: Path | None,
    labels: Path | None,
    place: Place,
    features: FeatureFiles | None = None,
) -> None:
    """Writes `model.safetensors` and `history.csv` to `place`.

    classifier: model file of the initial backbone; None if the settings have a backbone.
    labels: file of the confident labels; None if the settings name a checkpoint, which is used without training.
    features: stored features of a frozen network, for training on features instead of images.
    """
    if features is not None:
        _fit(settings, dataset, labels, place, features)
        return
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    if settings.backbone is None:
        backbone, backbone_settings = classifier_backbone(classifier)
    else:
        backbone = build_backbone(settings.backbone, weights=settings.checkpoint is None)
        backbone_settings = settings.backbone.model_dump(mode="json")
    training = settings.load()(settings)
    model = training.build(backbone)
    if settings.checkpoint is not None:
        load_published(model, settings.checkpoint.path)
        write_history({"lr": []}, place.out / "history.csv")
    else:
        augment = make_augment(settings.training.augment, backbone)
        records = dataset.split("train")
        samples = Samples(records, augment, settings.rng_seed, *training.labels(labels, dataset.class_names))
        head = training.head_parameters(model)
        train(model, head, training.terms, samples, settings.training, settings.rng_seed, place)
        training.finish(model, records, place)
    built = {"affinity": settings.model_dump(mode="json"), "backbone": backbone_settings}
    if place.writes:
        save_model(model, place.out / "model.safetensors", "affinity", built, dataset.class_names)


def _fit(settings: TrainAffinity, dataset: Dataset, labels: Path, place: Place, features: FeatureFiles) -> None:
    about = (dataset.split("train"), dataset.class_names, place.device)
    model, losses = settings.load()(settings).fit(features.open("train"), labels, *about)
    if place.writes:
        write_history({"lr": [settings.lr] * len(losses), "loss": losses}, place.out / "history.csv")
        built = {"affinity": settings.model_dump(mode="json")}
        save_model(model, place.out / "model.safetensors", "affinity", built, dataset.class_names)
