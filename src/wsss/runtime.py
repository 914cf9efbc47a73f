"""The process and its files: threads, signals, writes that are whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path


class Terminated(SystemExit):
    """Raised by SIGTERM and SIGINT; carries the shell's exit status for the signal."""


def limit_threads(threads: int) -> int:
    """Bounds every library's threads by `threads` and by the CPUs this process may use."""
    allowed = max(1, min(threads, len(os.sched_getaffinity(0))))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(allowed)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(allowed)
    return allowed


def write_atomically(path: Path, content: str | bytes | Callable[[Path], None]) -> None:
    """Writes a file so that it is there whole or not at all; a callable writes to the path it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
