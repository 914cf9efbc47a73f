"""Work in processes of one thread each, side by side, as the workflow runs an inference stage."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

import numpy as np
import torch

from benchmarks.measure import Thunk, Timed, peak, reset_peak

Part = Callable[[], dict[str, np.ndarray]]
"""A shard's work: image id → result."""


def in_shards(prepare: Callable[[int, int], Part], shards: int, _device: str) -> Thunk:
    """A process for each shard; the clock starts when all are ready. Results in the order of their ids.

    prepare: (number of the shard, shards) → its work; called in its process. Picklable.
    """
    context = get_context("spawn")
    pool = ProcessPoolExecutor(shards, context, initializer=_remember, initargs=(context.Barrier(shards),))

    def run() -> Timed:
        done = list(pool.map(_shard, itertools.repeat(prepare), range(shards), itertools.repeat(shards)))
        seconds = max(end for _, end, _, _ in done) - min(start for start, _, _, _ in done)
        found = dict(itertools.chain.from_iterable(results.items() for _, _, _, results in done))
        return Timed(seconds, [found[name] for name in sorted(found)], sum(megabytes for _, _, megabytes, _ in done))

    return run


def _remember(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _shard(prepare: Callable[[int, int], Part], number: int, shards: int) -> tuple[float, float, float, dict]:
    """Start, end, peak of memory in MB, results."""
    torch.set_num_threads(1)
    work = prepare(number, shards)
    before = reset_peak("cpu")
    _barrier.wait()
    start = time.time()
    results = work()
    return start, time.time(), peak("cpu") - before, results
