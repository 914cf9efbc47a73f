"""Trains AffinityNet or IRNet on pairs of confidently labelled pixels, or takes a published one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, RootModel
from torch import Tensor

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone, freeze
from wsss.backbones.checkpoints import load_published
from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.augment import to_input
from wsss.data.dataset import Dataset, Record, read_image
from wsss.data.loading import Samples, StoredLabels, derive_seed
from wsss.refine.affinitynet.network import AffinityNet, affinity_labels, affinity_loss
from wsss.refine.irnet.network import IRNet, irnet_loss
from wsss.refine.irnet.paths import path_offsets
from wsss.refine.load import build_affinity
from wsss.runtime.progress import Progress, log
from wsss.runtime.tensors import resize
from wsss.stages.common import stage_parser, stage_session
from wsss.store.models import read_model, save_model
from wsss.training.loop import state_lock, write_history
from wsss.training.session import Place, make_augment, place_from, train, training_arguments

IGNORE = 255
Terms = dict[str, Tensor]


class AffinityNetSettings(schema.AffinityNet):
    """The section of the configuration, and the run's seed."""

    rng_seed: int = 0


class IRNetSettings(schema.IRNet):
    """The section of the configuration, and the run's seed."""

    rng_seed: int = 0


Settings = AffinityNetSettings | IRNetSettings


class _Section(RootModel):
    root: Annotated[Settings, Field(discriminator="method")]


def pool_labels(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) class ids with 255 → (B, h, w): the commonest of each stride × stride block, 255 included."""
    present, compact = torch.unique(labels, return_inverse=True)
    votes = F.one_hot(compact, len(present)).permute(0, 3, 1, 2).float()
    return present[F.avg_pool2d(votes, stride, ceil_mode=True).argmax(1)]


def sample_labels(labels: Tensor, stride: int) -> Tensor:
    """(B, H, W) class ids with 255 → (B, h, w): the one at the centre of each block, as IRN does."""
    grid = tuple(-(-side // stride) for side in labels.shape[1:])
    return resize(labels[None], grid, mode="nearest-exact")[0]


def affinitynet_terms(model: AffinityNet, item: tuple[Any, Tensor], settings: schema.AffinityNet) -> Terms:
    """The three weighted terms over the pairs of a batch."""
    batch, labels = item
    pairs = affinity_labels(pool_labels(labels, model.stride), model.offsets, settings.inner_pairs)
    losses = affinity_loss(model(batch.images), pairs)
    return {
        "background": losses.background / 4,
        "foreground": losses.foreground / 4,
        "different": losses.different / 2,
    }


def irnet_terms(model: IRNet, item: tuple[Any, Tensor], settings: schema.IRNet) -> Terms:
    """The five weighted terms over the pairs of a batch."""
    batch, labels = item
    offsets = path_offsets(settings.radius).to(labels.device)
    pairs = affinity_labels(sample_labels(labels, model.stride), offsets, settings.inner_pairs)
    losses = irnet_loss(*model(batch.images), pairs, settings.radius)
    return {
        "background": losses.background / 4,
        "foreground": losses.foreground / 4,
        "different": losses.different / 2,
        "displacement_foreground": losses.displacement_foreground / 2,
        "displacement_background": losses.displacement_background / 2,
    }


def classifier_backbone(classifier: Path) -> tuple[Backbone, dict[str, Any]]:
    """The trained backbone of a classifier's file, and the settings that build it."""
    tensors, section, _ = read_model(classifier, "classifier")
    backbone = build_backbone(schema.TrainClassifier.model_validate(section).backbone, weights=False)
    prefix = "backbone."
    backbone.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    return backbone, section["backbone"]


def train_affinity(settings: Settings, dataset: Dataset, classifier: Path, labels: Path | None, place: Place) -> None:
    """Writes `model.safetensors` and `history.csv` to the place; the backbone starts as the classifier's.

    labels: None if the settings name a checkpoint, which is taken as it is.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    backbone, backbone_settings = classifier_backbone(classifier)
    model = build_affinity(settings, backbone)
    if settings.checkpoint is not None:
        load_published(model, settings.checkpoint)
        write_history({"lr": []}, place.out / "history.csv")
    else:
        _train(model, settings, dataset, labels, place)
    built = {"affinity": settings.model_dump(mode="json"), "backbone": backbone_settings}
    if place.writes:
        save_model(model, place.out / "model.safetensors", "affinity", built, dataset.class_names)


def _train(model: AffinityNet | IRNet, settings: Settings, dataset: Dataset, labels: Path, place: Place) -> None:
    backbone = model.backbone
    augment = make_augment(settings.training.augment, backbone)
    records = dataset.split("train")
    samples = Samples(records, augment, settings.rng_seed, StoredLabels(labels, dataset.class_names))
    if isinstance(model, IRNet):
        head, terms = model.displacement_parameters(), irnet_terms
    else:
        head, terms = model.head_parameters(), affinitynet_terms
        freeze(backbone, settings.training)
    losses = lambda model, item, _step: terms(model, item, settings)  # noqa: E731
    train(model, head, losses, samples, settings.training, settings.rng_seed, place)
    if isinstance(model, IRNet):
        measure_shift(model, records, settings.training, place)


def measure_shift(model: IRNet, records: list[Record], training: schema.Training, place: Place) -> None:
    """Gives `model` its mean displacement over the training images, which inference subtracts."""
    progress = Progress(len(records), "images")
    batches = corner_crops(records, model.backbone, training.augment.crop, training.batch_size)

    def moved() -> Iterator[Tensor]:
        for batch in batches:
            yield batch.to(place.device)
            progress.update(len(batch))

    model.measure_mean_displacement(moved())
    log.info("mean displacement (y, x): %.3f, %.3f cells", *model.mean_displacement.tolist())


def corner_crops(records: list[Record], backbone: Backbone, crop: int, batch_size: int) -> Iterator[Tensor]:
    """Normalised images in batches (B, 3, crop, crop), cut or padded with 0 at the bottom and right."""

    def read(record: Record) -> Tensor:
        pixels = to_input(read_image(record.image), backbone.mean, backbone.std)[:, :crop, :crop]
        return F.pad(pixels, (0, crop - pixels.shape[2], 0, crop - pixels.shape[1]))

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(records), batch_size):
            yield torch.stack(list(pool.map(read, records[start : start + batch_size])))


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--labels", type=Path, help="train.h5 of make_affinity_labels; not with a checkpoint")
    args = parser.parse_args()
    with stage_session("train_affinity", args):
        place = place_from(args)
        with state_lock(place.state):
            settings = load_section(_Section, args.config).root
            train_affinity(settings, Dataset(args.data), args.classifier, args.labels, place)


if __name__ == "__main__":
    main()
