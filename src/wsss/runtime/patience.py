"""Waiting no longer than one wants to: a name's look-up that hangs cannot be stopped, only left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
ANSWER_SECONDS = 4.0
"""An address that says nothing for so long is given up: a machine without network is told in one line."""


def in_time(work: Callable[[], T], seconds: float) -> T:
    """What `work` gives, or its exception; what takes longer goes on in a thread that ends with the process.

    Raises:
        TimeoutError: it took longer.
    """
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            answers.put((work(), None))
        except Exception as error:  # of any kind: it is raised where it is waited for
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        found, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return found
