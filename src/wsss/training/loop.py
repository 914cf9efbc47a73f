"""The training loop: steps, mixed precision, progress, and exact resuming after any interruption.

All random numbers of step s are seeded by (rng_seed, s), and batches depend on s alone, so that the state consists of
model, optimizer, scaler and loss history. A checkpoint replaces the last one atomically; a lock on the state folder
excludes a second process while another, possibly orphaned, one trains. All processes of a training run take the same
decisions at the same step; only the first one writes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wsss.runtime import distributed
from wsss.runtime.cells import csv_text
from wsss.runtime.devices import autocast
from wsss.runtime.files import write_atomically
from wsss.runtime.locks import lock
from wsss.runtime.process import Terminated
from wsss.runtime.progress import Progress, log
from wsss.runtime.seeds import derive_seed
from wsss.runtime.tensors import require_finite, tensors_digest

Item = TypeVar("Item")
_UNSTABLE = "lower the learning rate, clip gradients or turn mixed precision off"
LOG_EVERY = 10
"""Steps between reads of the losses, which wait for the GPU."""


@dataclass
class Trainer:
    """Trains `model` for `steps` steps and resumes from `state` where an earlier process stopped.

    losses: (batch, step) → named scalar terms whose sum is minimised.
    accumulate: batches per step, whose gradients are averaged.
    batch_size: images per step, over all batches and processes.
    unsynchronised: a context in which backward passes do not average gradients over processes.
    schedule: step → factor on every group's `peak_lr`.
    identity: of the inputs, code and settings; a state with another identity is discarded.
    amp: off, bf16 or fp16.
    on_losses: called with the history so far whenever losses have been read.
    """

    model: nn.Module
    losses: Callable[[Any, int], dict[str, Tensor]]
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    steps: int
    state: Path
    identity: str
    rng_seed: int
    device: torch.device
    clip_grad_norm: float | None = None
    amp: str = "off"
    accumulate: int = 1
    checkpoint_seconds: float = 60.0
    batch_size: int = 1
    unsynchronised: Callable[[], AbstractContextManager[None]] = nullcontext
    on_losses: Callable[[dict[str, list[float]]], None] = lambda history: None
    history: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.step = 0
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp == "fp16")
        self._pending: list[dict[str, Tensor]] = []

    def fit(self, batches: Callable[[int], Iterator[Any]]) -> None:
        """Runs the remaining steps; `batches(first)` yields the batches from step `first` on.

        Raises:
            ValueError: a loss is not finite, or a step does not fit into the GPU's memory.
            Terminated: one of the processes received SIGTERM or SIGINT; the state is saved.
        """
        self._load()
        if self.step >= self.steps:
            return
        progress = Progress(self.steps, "steps", done=self.step, items=self.batch_size)
        self.model.train()
        saved = time.monotonic()
        source = iter(batches(self.step))
        with _signals_noted() as signalled:
            while parts := list(islice(source, self.accumulate)):
                self._train_step(parts)
                if self.step % LOG_EVERY == 0 or self.step == self.steps:
                    self._read_losses()
                    latest = self._latest()
                    progress.update(self.step - progress.done, lr=latest.pop("lr"), losses=latest)
                    self.on_losses(self.history)
                due = time.monotonic() - saved > self.checkpoint_seconds
                signal_number, due = distributed.agree([max(signalled, default=0), int(due)])
                if signal_number:
                    self.save()
                    raise Terminated(128 + signal_number)
                if due:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _train_step(self, parts: list[Any]) -> None:
        # Process 0 draws the random numbers of a single process; the others have other images and draw their own.
        process = [distributed.rank()] if distributed.rank() else []
        torch.manual_seed(derive_seed(self.rng_seed, "step", self.step, *process))
        factor = self.schedule(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        try:
            for number, part in enumerate(parts, 1):
                with nullcontext() if number == len(parts) else self.unsynchronised():
                    self._backward(part, len(parts))
        except torch.OutOfMemoryError as error:
            raise ValueError(self._memory_advice()) from error
        if self.clip_grad_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.history.setdefault("lr", []).append(self.optimizer.param_groups[0]["lr"])
        self.step += 1

    def _backward(self, part: Any, parts: int) -> None:
        """Adds a part's share of the step's gradient."""
        with autocast(self.amp, self.device):
            terms = self.losses(part, self.step)
        self._scaler.scale(sum(terms.values()) / parts).backward()
        self._pending.append({name: value.detach() for name, value in terms.items()})

    def _memory_advice(self) -> str:
        shares = self.batch_size // distributed.processes()
        least = 2 if trains_batch_norm(self.model) else 1
        finer = [n for n in range(self.accumulate + 1, shares // least + 1) if shares % n == 0]
        images = f"{shares // self.accumulate} image(s) at a time"
        other = "execution.recompute_activations: true, amp: bf16, or a smaller batch_size or augment.crop"
        if finer:
            other = f"training.accumulate: {finer[0]} (a step keeps its {self.batch_size} images), {other}"
        return f"the GPU's memory does not hold {images}; set {other}"

    def _read_losses(self) -> None:
        if self._pending:
            names = list(self._pending[0])
            terms = torch.stack([torch.stack([part[name].float() for name in names]) for part in self._pending])
            steps = distributed.mean(terms.unflatten(0, (-1, self.accumulate)).mean(1))
            for name, values in zip(names, steps.T.tolist(), strict=True):
                self.history.setdefault(name, []).extend(values)
        self._pending.clear()
        for name in set(self.history) - {"lr"}:
            if not all(map(torch.isfinite, torch.tensor(self.history[name][-LOG_EVERY:]))):
                raise ValueError(f"loss '{name}' is not finite near step {self.step}: {_UNSTABLE}")

    def _latest(self) -> dict[str, float]:
        return {name: sum(values[-LOG_EVERY:]) / len(values[-LOG_EVERY:]) for name, values in self.history.items()}

    def save(self) -> None:
        """Writes the state; without the optimizer once training is finished."""
        self._read_losses()
        if distributed.rank() > 0:
            return
        content = self._content()
        if self.step >= self.steps:
            require_finite(content["model"], f"the network after step {self.step}", _UNSTABLE)
            del content["optimizer"], content["scaler"]
        write_atomically(self.state / "state.pt", lambda path: torch.save(content, path))

    def _load(self) -> None:
        path = self.state / "state.pt"
        if not path.is_file():
            return
        before = self._content()
        try:
            self._resume(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # reading a file that is no checkpoint raises many types
            self._resume(before)
            aside = path.with_suffix(".damaged")
            log.warning("%s is damaged (%s); it is kept as %s, and training starts again", path, error, aside.name)
            if distributed.rank() == 0:
                path.replace(aside)

    def _content(self) -> dict[str, Any]:
        """The state to resume from; frozen parameters, which the built network has, are represented by a digest."""
        return {
            "identity": self.identity,
            "threads": torch.get_num_threads(),
            "step": self.step,
            "model": {name: value.detach().clone() for name, value in self._learned().items()},
            "frozen": self._frozen,
            "history": self.history,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    @cached_property
    def _frozen(self) -> str:
        """Digest of the frozen parameters; empty if there are none."""
        frozen = {
            name: value.detach().cpu() for name, value in self.model.named_parameters() if not value.requires_grad
        }
        return tensors_digest(frozen) if frozen else ""

    def _learned(self) -> dict[str, Tensor]:
        """The model's tensors without its frozen parameters."""
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        return {name: value for name, value in self.model.state_dict().items() if name not in frozen}

    def _resume(self, content: dict[str, Any]) -> None:
        if content["identity"] != self.identity:
            log.info("the saved state belongs to other inputs, code or settings; training starts again")
            return
        if content["model"].keys() != self._learned().keys():
            raise ValueError("it holds another network")
        if content["frozen"] != self._frozen:
            raise ValueError(
                f"it was trained on a frozen network of digest {content['frozen'] or '(none)'}, this one has "
                f"{self._frozen or 'nothing frozen'}: give train_*.backbone the weights that it began with"
            )
        self.model.load_state_dict(content["model"], strict=False)
        self.step, self.history = content["step"], content["history"]
        if self.step < self.steps:
            self.optimizer.load_state_dict(content["optimizer"])
            self._scaler.load_state_dict(content["scaler"])
        if self.step:
            log.info("resumes at step %d of %d", self.step, self.steps)
        if content["threads"] != torch.get_num_threads():
            log.info("resumes with %d thread(s), as it began: their number changes the last bits", content["threads"])
            torch.set_num_threads(content["threads"])


def trains_batch_norm(model: nn.Module) -> bool:
    """Whether a network in training mode computes batch statistics, for which one image may be too few."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in model.modules())


@contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Context that holds the lock of the state folder, waiting while another process trains in it."""
    if distributed.rank() > 0:
        distributed.barrier()  # the first process holds the lock for all
        yield
        return
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a+") as file:
        file.seek(0)
        lock(file, f"waits for process {file.read().strip() or '?'}, which still trains in {state}")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        distributed.barrier()
        yield


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Context that collects SIGTERM and SIGINT, so that a step is finished before its state is saved."""
    noted: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(n, lambda signum, _frame: noted.append(signum)) for n in numbers]
    try:
        yield noted
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def write_history(history: dict[str, list[float]], path: Path) -> None:
    """Writes the losses and learning rates of every step as CSV."""
    rows = zip(range(len(history["lr"])), *history.values(), strict=True)
    write_atomically(path, csv_text([["step", *history], *rows]))
