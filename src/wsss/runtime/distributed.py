"""Training in several processes, one per GPU, as `torchrun` starts them; with one process every function is trivial.

Gradients are averaged over the processes. A loss that is a mean over images needs no correction; a loss that divides
by a count over the batch (labelled pixels, pairs) divides by `batch_sum` of that count and multiplies by
`processes()`.
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
"""Whether counts cover this process alone."""

TIMEOUT = datetime.timedelta(days=1)
"""Longest wait for the other processes, of which the first may wait for a lock. A dead process ends all at once."""


def processes() -> int:
    """Number of processes over which `batch_sum` counts: all of the training run's, or one within `counted_by`."""
    return 1 if _APART.get() else started()


@contextmanager
def _apart() -> Iterator[None]:
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


def counted_by(images: int | None, loss: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """`loss` of the batch's tensors (B, …), or its mean over groups of `images` images that are normalised separately.

    The latter is the loss of papers whose processes each saw `images` images and counted their own pixels and pairs.

    Raises:
        ValueError: this process's share of the batch is no multiple of `images`.
    """
    if images is None:
        return loss(*batch)
    require_groups(len(batch[0]), images)
    with _apart():
        parts = zip(*(tensor.split(images) for tensor in batch), strict=True)
        return torch.stack([loss(*part) for part in parts]).mean()


def require_groups(images: int, group: int | None) -> None:
    """Raises ValueError unless groups of `group` images, or all at once, make up `images`."""
    if group is not None and images % group:
        raise ValueError(
            f"counted_images {group} does not divide the {images} images that a process has of a batch; change "
            "training.batch_size, training.accumulate or execution.processes"
        )


def join() -> None:
    """Initialises the process group: gloo for tensors on the CPU, NCCL for those on a GPU."""
    if launched() and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT)


def barrier() -> None:
    """Waits until every process has called it."""
    agree([0])


def agree(wishes: Sequence[int]) -> list[int]:
    """Element-wise maximum of `wishes` over the processes."""
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
    """Sum of `count` over the processes, each of which sees a part of the batch; without gradient."""
    if processes() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total
