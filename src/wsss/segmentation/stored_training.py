"""Training a decoder on stored features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss.backbones.build import build_backbone
from wsss.config.stages import TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.data.loading import labelled
from wsss.runtime.seeds import derive_seed
from wsss.segmentation.load import build_segmentation
from wsss.segmentation.stored_decoder import FrozenNet, area_loss, mirrored, stages_of
from wsss.store.features import FeatureStore
from wsss.store.models import save_model
from wsss.training.loop import Trainer, write_history
from wsss.training.optim import build_optimizer
from wsss.training.schedules import make_schedule
from wsss.training.session import Place, schedule_parameters

SAMPLED = 64
"""Images whose features say what mean and deviation are."""
Item = tuple[list[Tensor], Tensor]


def train_decoder(
    settings: TrainSegmentation, dataset: Dataset, labels: Path | None, store: FeatureStore, place: Place
) -> None:
    """Writes `model.safetensors` and `history.csv` to the place; as `train_segmentation`, but no network is run.

    store: features of the training split; the decoder learns from those at the scale nearest to 1.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    model = build_segmentation(settings, len(dataset.class_names), build_backbone(settings.backbone))
    training = settings.training
    records, label_of = labelled(dataset, labels, settings.correction_weight)
    scale = min(store.scales, key=lambda scale: abs(scale - 1))

    def item(index: int) -> Item:
        record = records[index]
        maps = [torch.from_numpy(found[:1]) for found in stages_of(store, record.image_id, scale, model.stages)]
        return maps, torch.from_numpy(label_of(record))

    every = max(1, len(records) // SAMPLED)
    model.decoder.standardise_by(item(index)[0] for index in range(0, len(records), every))
    steps = training.planned_steps(len(records))

    def batches(first: int) -> Iterator[list[Item]]:
        for step in range(first, steps):
            yield [_sample(item, n, len(records), settings) for n in _numbers(step, training.batch_size)]

    _fit(model, settings, steps, batches, place)
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    if place.writes:
        save_model(model.cpu(), place.out / "model.safetensors", "segmentation", section, dataset.class_names)


def _numbers(step: int, size: int) -> range:
    return range(step * size, (step + 1) * size)


def _sample(item: Any, number: int, count: int, settings: TrainSegmentation) -> Item:
    """Sample `number` since the start of the training, which depends on nothing else."""
    epoch, position = divmod(number, count)
    index = int(np.random.default_rng([settings.rng_seed, epoch]).permutation(count)[position])
    flip = settings.training.augment.flip and derive_seed(settings.rng_seed, "flip", number) % 2 == 1
    return next(mirrored(iter([item(index)]), flip))


def _fit(model: FrozenNet, settings: TrainSegmentation, steps: int, batches: Any, place: Place) -> None:
    training, decoder = settings.training, model.decoder.to(place.device)

    def losses(items: list[Item], _step: int) -> dict[str, Tensor]:
        moved = [([m.to(place.device) for m in maps], label.to(place.device)) for maps, label in items]
        return {"seg": area_loss(decoder, moved)}

    trainer = Trainer(
        model=decoder,
        losses=losses,
        optimizer=build_optimizer(decoder, decoder.parameters(), training.optimizer),
        schedule=make_schedule(training.schedule.name, steps, **schedule_parameters(training.schedule)),
        steps=steps,
        state=place.state,
        identity=place.identity,
        rng_seed=settings.rng_seed,
        device=place.device,
        clip_grad_norm=training.optimizer.clip_grad_norm,
        checkpoint_seconds=place.checkpoint_seconds,
        batch_size=training.batch_size,
    )
    trainer.fit(batches)
    decoder.eval()
    if place.writes:
        write_history(trainer.history, place.out / "history.csv")
