"""From a `training` section to a finished fit: what the three training stages share."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsss import schema
from wsss.backbones.base import Backbone
from wsss.data.augment import Augment
from wsss.data.loading import Samples, batches
from wsss.progress import log
from wsss.training.board import Board
from wsss.training.loop import LOG_EVERY, Trainer, resolve_device, write_history
from wsss.training.optim import build_optimizer
from wsss.training.schedules import make_schedule


@dataclass(frozen=True)
class Place:
    """Where and how a training runs; nothing here changes its result."""

    out: Path
    device: torch.device
    workers: int
    checkpoint_seconds: float
    identity: str
    tensorboard: bool = False

    @property
    def events(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.out / "tensorboard"

    @property
    def state(self) -> Path:
        """The folder of checkpoints, which outlives a killed job's outputs."""
        return self.out / "state"


def training_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every training stage."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=None, help="loader processes (default: by the machine)")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0, help="between checkpoints")
    parser.add_argument("--tensorboard", action="store_true", help="write event files to OUT/tensorboard")


def place_from(args: argparse.Namespace) -> Place:
    """The place that the command line describes; the state belongs to these settings and this code."""
    device = resolve_device(args.device)
    workers = args.workers
    if workers is None:
        workers = min(8, args.threads) if device.type == "cuda" else (1 if args.threads > 1 else 0)
    identity = hashlib.sha256(f"{args.config}\n{args.code}".encode()).hexdigest()
    return Place(args.out, device, workers, args.checkpoint_seconds, identity, args.tensorboard)


def make_augment(settings: schema.Augmentation, backbone: Backbone) -> Augment:
    """The augmentation of a settings section with the backbone's normalisation."""
    return Augment(**settings.model_dump(), mean=backbone.mean, std=backbone.std)


def train(
    model: nn.Module,
    head: Iterable[nn.Parameter],
    losses: Callable[[nn.Module, Any, int], dict[str, Tensor]],
    samples: Samples,
    settings: schema.Training,
    rng_seed: int,
    place: Place,
) -> None:
    """Trains `model` in place and writes `history.csv`.

    losses: (model, (Batch, label maps), step) → named scalar terms.
    """
    steps = max(1, round(settings.epochs * len(samples.records) / settings.batch_size))
    log.info("%d images, %d steps of %d, on %s", len(samples.records), steps, settings.batch_size, place.device)
    model.to(place.device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    trainer = Trainer(
        model=model,
        losses=lambda item, step: losses(model, _move(item, place.device, settings.channels_last), step),
        optimizer=build_optimizer(model, head, settings.optimizer),
        schedule=make_schedule(settings.schedule.name, steps, **_schedule_parameters(settings.schedule)),
        steps=steps,
        state=place.state,
        identity=place.identity,
        rng_seed=rng_seed,
        device=place.device,
        clip_grad_norm=settings.optimizer.clip_grad_norm,
        amp=settings.amp,
        checkpoint_seconds=place.checkpoint_seconds,
        batch_size=settings.batch_size,
    )
    if place.tensorboard:
        trainer.on_losses = Board(place.events, LOG_EVERY).update
    trainer.fit(lambda first: batches(samples, first, steps, settings.batch_size, place.workers))
    trainer.on_losses(trainer.history)
    model.to(memory_format=torch.contiguous_format).eval()
    write_history(trainer.history, place.out / "history.csv")


def _move(item: tuple[Any, Tensor], device: torch.device, channels_last: bool) -> tuple[Any, Tensor]:
    batch, targets = item
    batch = batch.to(device)
    if channels_last:
        batch.images = batch.images.contiguous(memory_format=torch.channels_last)
    return batch, targets.to(device, non_blocking=True)


def _schedule_parameters(settings: schema.Schedule) -> dict[str, float]:
    names = {"poly": ("power",), "warmup_poly": ("power", "warmup_steps", "warmup_ratio")}
    return {name: getattr(settings, name) for name in names.get(settings.name, ())}
