"""Execution of a `training` section, shared by the three training stages."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wsss.backbones.base import Backbone
from wsss.config import sections
from wsss.data.augment import Augment
from wsss.data.loading import Samples, batches
from wsss.runtime import distributed
from wsss.runtime.devices import claim_device, resolve_amp
from wsss.runtime.progress import log
from wsss.training.board import Board
from wsss.training.loop import LOG_EVERY, Trainer, state_lock, trains_batch_norm, write_history
from wsss.training.optim import build_optimizer
from wsss.training.schedules import make_schedule


@dataclass(frozen=True)
class Place:
    """Folder, device and other conditions of a training run that do not change its result.

    recompute: activation checkpointing.
    """

    out: Path
    device: torch.device
    workers: int
    checkpoint_seconds: float
    identity: str
    tensorboard: bool = False
    recompute: bool = False

    @property
    def writes(self) -> bool:
        """Whether this process writes files: the first of several."""
        return distributed.rank() == 0

    @property
    def events(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.out / "tensorboard"

    @property
    def state(self) -> Path:
        """The folder of checkpoints, which remains when Snakemake deletes a killed job's outputs."""
        return self.out / "state"


def training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the training stages."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--workers", type=int, default=None, help="loader processes (default: by the machine)")
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0, help="between checkpoints")
    parser.add_argument("--tensorboard", action="store_true", help="write event files to OUT/tensorboard")
    parser.add_argument("--recompute", action="store_true", help="less memory: compute activations twice")


@contextlib.contextmanager
def training_place(args: argparse.Namespace) -> Iterator[Place]:
    """Context with the place given by the command line, whose state is locked; its identity is the step's key.

    Under torchrun it also initialises the process group, in which each process has its own device.
    """
    distributed.join()
    device = claim_device(args.device)
    workers = args.workers
    if workers is None:
        workers = min(8, args.threads) if device.type == "cuda" else (1 if args.threads > 1 else 0)
    place = Place(args.out, device, workers, args.checkpoint_seconds, args.key, args.tensorboard, args.recompute)
    with state_lock(place.state):
        yield place


def make_augment(settings: sections.Augmentation, backbone: Backbone) -> Augment:
    """The augmentation of a settings section with the backbone's normalisation."""
    return Augment(settings, backbone.mean, backbone.std)


def train(
    model: nn.Module,
    head: Iterable[nn.Parameter],
    losses: Callable[[nn.Module, Any, int], dict[str, Tensor]],
    samples: Samples,
    settings: sections.Training,
    rng_seed: int,
    place: Place,
) -> None:
    """Trains `model` in place and writes `history.csv`.

    losses: (model, (Batch, label maps), step) → named scalar terms.

    Raises:
        ValueError: the batch size is not divisible by the parts of the settings and the number of processes.
    """
    model.to(place.device)
    if place.recompute:
        recompute_activations(model)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    step_losses, unsynchronised = _share(_Losses(model, losses), place.device)

    def losses_of(item: Any, step: int) -> dict[str, Tensor]:
        return step_losses(_move(item, place.device, settings.channels_last), step)

    def batches_from(first: int, steps: int) -> Iterator[Any]:
        return batches(samples, first, steps, settings.batch_size, place.workers, settings.accumulate)

    images = len(samples.records)
    fit(model, head, losses_of, batches_from, images, settings, rng_seed, place, unsynchronised)
    model.to(memory_format=torch.contiguous_format).eval()


def fit(
    model: nn.Module,
    head: Iterable[nn.Parameter],
    losses: Callable[[Any, int], dict[str, Tensor]],
    batches_from: Callable[[int, int], Iterator[Any]],
    images: int,
    settings: sections.Training,
    rng_seed: int,
    place: Place,
    unsynchronised: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Trains `model` in place by the loop that the settings describe, and writes `history.csv`.

    losses: (batch, step) → named scalar terms. batches_from: (first step, number of steps) → batches from the first on.
    images: of the training set. unsynchronised: see `Trainer`.
    """
    steps, amp = settings.steps(images), resolve_amp(settings.amp, place.device)
    where = f"{place.device}, {amp}" if amp != "off" else place.device
    log.info("%d images, %d steps of %d, on %s", images, steps, settings.batch_size, where)
    parameters = schedule_parameters(settings.schedule)
    if (warmup := parameters.get("warmup_steps", 0)) >= steps:
        log.warning("schedule.warmup_steps is %d, and the last step %d: the warm-up never ends", warmup, steps - 1)
    trainer = Trainer(
        model=model,
        losses=losses,
        optimizer=build_optimizer(model, head, settings.optimizer),
        schedule=make_schedule(settings.schedule.name, settings.planned_steps(images), **parameters),
        steps=steps,
        state=place.state,
        identity=place.identity,
        rng_seed=rng_seed,
        device=place.device,
        clip_grad_norm=settings.optimizer.clip_grad_norm,
        amp=amp,
        accumulate=settings.accumulate,
        unsynchronised=unsynchronised,
        checkpoint_seconds=place.checkpoint_seconds,
        batch_size=settings.batch_size,
    )
    shown = place.tensorboard and place.writes
    with contextlib.closing(Board(place.events, LOG_EVERY)) if shown else contextlib.nullcontext() as board:
        if board is not None:
            trainer.on_losses = board.update
        trainer.fit(lambda first: batches_from(first, steps))
        trainer.on_losses(trainer.history)
    if place.writes:
        write_history(trainer.history, place.out / "history.csv")


class _Losses(nn.Module):
    """The losses as a module's forward pass, as DistributedDataParallel requires."""

    def __init__(self, model: nn.Module, losses: Callable[[nn.Module, Any, int], dict[str, Tensor]]) -> None:
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, item: Any, step: int) -> dict[str, Tensor]:
        return self.losses(self.model, item, step)


def _share(module: _Losses, device: torch.device) -> tuple[nn.Module, Callable[[], AbstractContextManager[None]]]:
    """The module with gradients averaged over all processes, and a context without averaging.

    On GPUs, trained BatchNorm normalises over the images of all processes, so that their number changes no result.
    """
    if distributed.processes() == 1:
        return module, contextlib.nullcontext
    if device.type == "cuda":
        synchronise_batch_norm(module.train())
    wrapped = DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)
    return wrapped, wrapped.no_sync


def synchronise_batch_norm(module: nn.Module) -> None:
    """Makes trained BatchNorm, also timm's with an activation, normalise over the images of all processes."""
    from timm.layers import convert_sync_batchnorm

    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.training:
            setattr(module, name, convert_sync_batchnorm(child))
        else:
            synchronise_batch_norm(child)


def recompute_activations(model: nn.Module) -> None:
    """Switches on the activation checkpointing of timm's networks.

    Raises:
        ValueError: no network in `model` supports it, or BatchNorm would update its statistics twice.
    """
    found = [module for module in model.train().modules() if hasattr(module, "set_grad_checkpointing")]
    if not found or trains_batch_norm(model):
        why = "BatchNorm would count each image twice; freeze_batch_norm avoids it" if found else "it is timm's"
        raise ValueError(f"execution.recompute_activations does not work for this network: {why}")
    for module in found:
        module.set_grad_checkpointing(True)


def _move(item: tuple[Any, Tensor], device: torch.device, channels_last: bool) -> tuple[Any, Tensor]:
    batch, targets = item
    batch = batch.to(device)
    if channels_last:
        batch.images = batch.images.contiguous(memory_format=torch.channels_last)
    return batch, targets.to(device, non_blocking=True)


def schedule_parameters(settings: sections.Schedule) -> dict[str, float]:
    """The parameters of a schedule's settings."""
    names = {"poly": ("power",), "warmup_poly": ("power", "warmup_steps", "warmup_ratio")}
    return {name: getattr(settings, name) for name in names.get(settings.name, ())}
