"""Trainings in several processes, one a GPU, as `torchrun` starts them; alone, everything here is trivial.

Gradients are averaged over the processes. A loss that is a mean over images is then right by itself; one that divides
by a count over the batch (labelled pixels, pairs) takes the count of the whole batch from `batch_sum` and multiplies
by `processes()`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

from wsss.runtime.process import launched, rank
from wsss.runtime.process import processes as started

__all__ = ["agree", "barrier", "batch_sum", "counted_by", "join", "mean", "processes", "rank"]

_APART: ContextVar[bool] = ContextVar("apart", default=False)
"""Whether counts are those of this process alone."""

TIMEOUT = datetime.timedelta(days=1)
"""A process may wait this long for the others: the first one may wait for a lock. A dead one ends all at once."""


def processes() -> int:
    """How many processes share a count: all of the training, or one."""
    return 1 if _APART.get() else started()


@contextmanager
def _apart() -> Iterator[None]:
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


def counted_by(images: int | None, loss: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """`loss` of the batch's tensors (B, …), or the mean of it over groups of `images` images with counts of their own.

    As papers ran whose processes each saw so many images and counted pixels and pairs for themselves.

    Raises:
        ValueError: this process's share of the batch has no such groups.
    """
    if images is None:
        return loss(*batch)
    if len(batch[0]) % images:
        raise ValueError(
            f"counted_images {images} does not divide the {len(batch[0])} images that a process has of a batch; change "
            "training.batch_size, training.accumulate or execution.processes"
        )
    with _apart():
        parts = zip(*(tensor.split(images) for tensor in batch), strict=True)
        return torch.stack([loss(*part) for part in parts]).mean()


def join() -> None:
    """Meets the other processes: tensors on a CPU travel by gloo, those on a GPU by NCCL."""
    if launched() and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT)


def barrier() -> None:
    """Waits until every process is here."""
    agree([0])


def agree(wishes: Sequence[int]) -> list[int]:
    """For each number, the largest that any process brings."""
    if started() == 1:
        return list(wishes)
    numbers = torch.tensor(wishes)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return numbers.tolist()


def mean(values: Tensor) -> Tensor:
    """The mean of `values` over the processes; without gradient."""
    if started() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / started()


def batch_sum(count: Tensor) -> Tensor:
    """A count over the whole batch, of which each process sees a part; without gradient."""
    if processes() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total
