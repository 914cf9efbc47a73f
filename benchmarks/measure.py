"""Measuring two ways to do the same work: time, peak memory, largest difference of the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

ENOUGH_SECONDS = 3.0
"""Runs are repeated until they have taken this long, at most `REPEATS` times; the best counts."""
REPEATS = 3

Thunk = Callable[[], Any]


@dataclass(frozen=True)
class Timed:
    """What a run returns that has measured itself: seconds without the start of its processes, and their memory."""

    seconds: float
    result: Any
    megabytes: float | None = None


@dataclass(frozen=True)
class Measurement:
    """seconds: of the best run; megabytes: peak of resident memory (or the GPU's) above what held the inputs."""

    seconds: float
    megabytes: float
    result: Any


@dataclass(frozen=True)
class Case:
    """A line of results.csv.

    plain, ours: make the inputs and return the run; None: nothing plain at this size. Picklable.
    pixels: of all images together. faster, megabytes, memory_ratio, difference: what is wanted; None: nothing.
    compare: results → largest difference. note: results → text, and whether it is as wanted.
    """

    work: str
    size: str
    pixels: int
    plain: Callable[[str], Thunk] | None
    ours: Callable[[str], Thunk]
    faster: float | None = None
    megabytes: float | None = None
    memory_ratio: float | None = None
    difference: float | None = None
    compare: Callable[[Any, Any], float] | None = None
    note: Callable[[Any, Any], tuple[str, bool]] | None = None


def measure(prepare: Callable[[str], Thunk], device: str, threads: int) -> Measurement:
    """Best time and peak memory of one way, in this process."""
    torch.set_num_threads(threads)
    work = prepare(device)
    before = reset_peak(device)
    last = _time(work, device)  # also warms up
    megabytes = peak(device) - before if last.megabytes is None else last.megabytes
    spent, seconds = last.seconds, [last.seconds] if last.seconds >= ENOUGH_SECONDS else []
    for _ in range(REPEATS):
        if seconds and spent > ENOUGH_SECONDS:
            break
        del last  # the next run shall find the memory that this one found
        last = _time(work, device)
        seconds.append(last.seconds)
        spent += last.seconds
    return Measurement(min(seconds), megabytes, last.result)


def measure_apart(prepare: Callable[[str], Thunk], device: str) -> Measurement:
    """`measure` in a fresh process, so that peaks do not mix."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, prepare, device, torch.get_num_threads()).result()


def largest_difference(plain: Any, ours: Any) -> float:
    """Largest absolute difference of two arrays, or of two sequences of arrays."""
    if isinstance(plain, np.ndarray | torch.Tensor):
        plain, ours = [plain], [ours]
    pairs = zip(map(np.asarray, plain), map(np.asarray, ours), strict=True)
    return max(float(np.abs(a.astype(np.float64) - b).max(initial=0)) for a, b in pairs)


def _time(work: Thunk, device: str) -> Timed:
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    if isinstance(result, Timed):
        return result
    return Timed(seconds, result.cpu() if isinstance(result, torch.Tensor) else result)


def reset_peak(device: str) -> float:
    """Lets the peak start anew; returns what is held now, in MB."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew from what is resident
    return peak(device)


def peak(device: str) -> float:
    """Most memory held since `reset_peak`, in MB: resident, or the GPU's."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
