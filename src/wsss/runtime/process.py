"""The current process: its rank among several, its threads, and the signals that end it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables with the libraries' numbers of threads."""


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Rank of this process; process 0 writes the files."""
    return int(os.environ["RANK"]) if launched() else 0


def processes() -> int:
    """Number of processes that train together."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


class Terminated(SystemExit):
    """Raised by a signal handled through `raise_on`; its code is 128 + the signal's number."""


def raise_on(signals: Iterable[signal.Signals]) -> None:
    """Makes each of the signals raise `Terminated`; a hangup only if it is not ignored, as below `nohup`."""
    for number in signals:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise_terminated)


def _raise_terminated(number: int, _frame: object) -> None:
    raise Terminated(128 + number)


def usable_cores() -> int:
    """Number of CPU cores that this process may use; all of them where the system has no affinity (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def let_threads_sleep() -> None:
    """Lets OpenMP's waiting threads sleep, unless the user set otherwise; torch must not be imported yet.

    Threads that spin, as is the default, occupy cores that other programs want: `wsss predict` of six photographs took
    41 s of CPU instead of 8 beside two trainings.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def limit_threads(threads: int) -> int:
    """Limits every library to `threads`, or fewer if this process may use fewer CPUs; returns the limit."""
    allowed = max(1, min(threads, usable_cores()))
    for name in THREADS:
        os.environ[name] = str(allowed)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(allowed)
    return allowed
