"""File locks (`flock`), which the system releases when their holder dies."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger("wsss")


def try_lock(file: IO | int) -> bool:
    """Locks an open file; False if another process holds the lock.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        where = getattr(file, "name", "results")
        raise OSError(
            f"{where}: its file system has no locks ({error.strerror}); put results on one that has (for NFS, mount it "
            "without nolock)"
        ) from None
    return True


def lock(file: IO, waiting: str) -> None:
    """Locks an open file, waiting until other processes release it; logs `waiting` if it has to wait."""
    if not try_lock(file):
        log.info(waiting)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Context that holds the lock of a folder, waiting until other processes release it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        lock(file, f"waits for another process that works in {folder}")
        yield
