"""The log of a stage program: lines on the terminal, and in a file with times and tracebacks; its errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsss.runtime.ending import plain_ending

log = logging.getLogger("wsss")


def start_log(stage: str, path: Path | None) -> None:
    """Sends the lines of the log `wsss` to the terminal, named after the stage, and to a file, if any."""
    logging.raiseExceptions = False  # a log that cannot be written stops no work
    log.setLevel(logging.DEBUG)
    log.handlers.clear()
    terminal = _Terminal()
    terminal.setLevel(logging.INFO)
    terminal.addFilter(_for_terminal)
    terminal.setFormatter(_LastLineFormatter(f"[{stage}] %(message)s"))
    log.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path)
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        log.addHandler(file)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Context in which a user's error is one line and status 2; any other is a traceback in the log and status 1."""
    try:
        with plain_ending():
            yield
    except Exception:
        log.exception("failed")
        sys.exit(1)


def _for_terminal(record: logging.LogRecord) -> bool:
    """Filter of progress lines that repeat a bar."""
    return record.levelno > logging.DEBUG and not getattr(record, "bar", False)


class _Terminal(logging.StreamHandler):
    """Writes to the current sys.stderr, which a progress bar replaces to print lines above itself."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, _value: Any) -> None:
        pass


class _LastLineFormatter(logging.Formatter):
    """Messages without tracebacks: those are for the log file."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        record.exc_text = None  # else the log file's formatter takes it over
        return text

    def formatException(self, ei: Any) -> str:
        return f"{ei[0].__name__}: {ei[1]} (traceback in the log file)"
