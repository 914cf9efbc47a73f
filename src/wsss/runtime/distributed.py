"""Trainings in several processes, one a GPU, as `torchrun` starts them; alone, everything here is trivial.

Gradients are averaged over the processes. A loss that is a mean over images is then right by itself; one that divides
by a count over the batch (labelled pixels, pairs) takes the count of the whole batch from `batch_sum` and multiplies
by `processes()`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from wsss.runtime.process import launched, processes, rank

__all__ = ["agree", "barrier", "batch_sum", "join", "mean", "processes", "rank"]

TIMEOUT = datetime.timedelta(days=1)
"""A process may wait this long for the others: the first one may wait for a lock. A dead one ends all at once."""


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
    if processes() == 1:
        return list(wishes)
    numbers = torch.tensor(wishes)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return numbers.tolist()


def mean(values: Tensor) -> Tensor:
    """The mean of `values` over the processes; without gradient."""
    if processes() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / processes()


def batch_sum(count: Tensor) -> Tensor:
    """A count over the whole batch, of which each process sees a part; without gradient."""
    if processes() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total
