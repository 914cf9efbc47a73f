"""The process and its files: threads, signals, writes that are whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


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
    """Raised by SIGTERM and SIGINT; carries the shell's exit status for the signal."""


def limit_threads(threads: int) -> int:
    """Bounds every library's threads by `threads` and by the CPUs this process may use."""
    allowed = max(1, min(threads, len(os.sched_getaffinity(0))))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(allowed)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(allowed)
    return allowed


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes that ask so; waits for one that holds it, and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.getLogger("wsss").info("waits for another process that works in %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    except Exception as error:
        raise write_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_TOLD = re.compile(r"No space left on device|File too large|Disk quota exceeded|Read-only file system", re.I)
_FAILED = re.compile(r"failed writing|write failed|inline_container.*unexpected pos", re.I)  # torch gives no reason


def write_error(path: Path, error: Exception) -> Exception:
    """What a writer's error means for a person; h5py, safetensors and torch raise errors of their own."""
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        reason = os.strerror(error.errno).lower()
    elif told := _TOLD.search(str(error)):
        reason = told[0].lower()
    elif _FAILED.search(str(error)):
        reason = "the disk is full, or files may not grow so large"
    else:
        return error
    return OSError(f"cannot write {path} ({reason}); make room there, and the same command goes on from what is whole")
