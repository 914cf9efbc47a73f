"""The process: its number among several, its threads, and the signals that end it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """This process's number; process 0 writes."""
    return int(os.environ["RANK"]) if launched() else 0


def processes() -> int:
    """How many processes train together."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


class Terminated(SystemExit):
    """Raised by a signal, as `raise_on` asks; carries the shell's exit status for it."""


def raise_on(signals: Iterable[signal.Signals]) -> None:
    """Makes each of the signals raise `Terminated`."""
    for number in signals:
        signal.signal(number, _raise_terminated)


def _raise_terminated(number: int, _frame: object) -> None:
    raise Terminated(128 + number)


def limit_threads(threads: int) -> int:
    """Bounds every library's threads by `threads` and by the CPUs this process may use."""
    allowed = max(1, min(threads, len(os.sched_getaffinity(0))))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(allowed)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(allowed)
    return allowed
