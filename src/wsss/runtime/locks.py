"""Locks on files, which the system gives back when their holder dies."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger("wsss")


def try_lock(file: IO | int) -> bool:
    """Holds an open file against other processes, or says that another holds it.

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
    """Holds an open file; waits for another process that does, and logs `waiting` meanwhile."""
    if not try_lock(file):
        log.info(waiting)
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes that ask so; waits for one that holds it, and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        lock(file, f"waits for another process that works in {folder}")
        yield
