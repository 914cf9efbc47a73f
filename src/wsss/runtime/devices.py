"""Choice of a job's device and precision; of several GPUs, one that no other job on this machine holds."""

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
_AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_held: list[int] = []  # open lock files; the system closes them when the process ends, however it ends


def resolve_device(name: str) -> torch.device:
    """The torch device of a name; `auto` is the GPU if there is one.

    Raises:
        ValueError: the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device '{name}' was asked for, but torch sees no GPU; use auto or cpu")
    device = torch.device(name)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ValueError(f"device '{name}' was asked for, but torch sees {torch.cuda.device_count()} GPU(s)")
    return device


def resolve_amp(amp: str, device: torch.device) -> str:
    """The precision of a name; `auto` is bf16 on a device with bf16 instructions, else off."""
    if amp != "auto":
        return amp
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False)
    return "bf16" if native else "off"


def autocast(amp: str, device: torch.device) -> torch.autocast:
    """Context of mixed precision, by the name of a precision."""
    amp = resolve_amp(amp, device)
    return torch.autocast(device.type, _AMP_TYPES.get(amp), enabled=amp != "off")


def claim_device(name: str) -> torch.device:
    """As `resolve_device`, but `auto` and `cuda` reserve a GPU for this job, waiting until one is free.

    Under Slurm, which assigns GPUs to jobs, and for `cuda:N` nothing is reserved. Each process of a training run gets
    a GPU of its own.

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
    """Locks `count` of the files, all or none, waiting while too few are free; the indices of those locked."""
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
    """One file per GPU, named after its UUID, because CUDA_VISIBLE_DEVICES renumbers GPUs."""
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [Path(tempfile.gettempdir()) / f"wsss-gpu-{card.uuid}.lock" for card in cards]


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None. Opened read-only, so that another user's file can be locked too."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None
