"""Locks on folders, which the system gives back when their holder dies."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
