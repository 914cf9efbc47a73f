"""Which device a job computes on, and in which precision: of several GPUs, one that no other job here holds."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from wsss.runtime import distributed
from wsss.runtime.locks import try_lock

log = logging.getLogger("wsss")
_held: list[int] = []  # open lock files; the system closes them when the process ends, however it ends


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU if there is one.

    Raises:
        ValueError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device '{name}' was asked for, but torch sees no GPU; use auto or cpu")
    return torch.device(name)


def resolve_amp(amp: str, device: torch.device) -> str:
    """`auto` is bf16 where the device multiplies it as such, and off where it would be emulated."""
    if amp != "auto":
        return amp
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False)
    return "bf16" if native else "off"


def claim_device(name: str) -> torch.device:
    """As `resolve_device`, but `auto` and `cuda` take a GPU for this job alone, waiting for one if need be.

    Slurm gives each job its own GPUs; there, and for `cuda:N`, nothing is claimed. Processes of one training get a
    GPU each.

    Raises:
        ValueError: the device does not exist, or there are fewer GPUs than processes.
    """
    device = resolve_device(name)
    count = distributed.processes()
    if device.type != "cuda":
        return device
    if device.index is not None and count > 1:
        raise ValueError(f"device '{name}' is one GPU, but execution.processes is {count}; use auto")
    if device.index is not None:
        return device
    if count > torch.cuda.device_count():
        raise ValueError(f"execution.processes is {count}, but torch sees {torch.cuda.device_count()} GPU(s)")
    free = list(range(count))
    if "SLURM_JOB_ID" not in os.environ:
        free = claim(_lock_files(), count) if distributed.rank() == 0 else [0] * count
    device = torch.device("cuda", distributed.agree(free)[distributed.rank()])
    torch.cuda.set_device(device)
    return device


def claim(files: Sequence[Path], count: int, wait_seconds: float = 1.0) -> list[int]:
    """Which `count` of the lock files this process now holds, all at once; waits while too few are free."""
    said = False
    while True:
        found: dict[int, int] = {}
        for index, path in enumerate(files):
            descriptor = _try_lock(path)
            if descriptor is not None:
                found[index] = descriptor
            if len(found) == count:
                _held.extend(found.values())
                return list(found)
        for descriptor in found.values():
            os.close(descriptor)
        if not said:
            log.info("waits until %d of %d GPU(s) are free", count, len(files))
            said = True
        time.sleep(wait_seconds)


def _lock_files() -> list[Path]:
    """One file a GPU, named after the card itself: CUDA_VISIBLE_DEVICES renumbers them."""
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [Path(tempfile.gettempdir()) / f"wsss-gpu-{card.uuid}.lock" for card in cards]


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the file, or None; other users' files can be held too."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None
