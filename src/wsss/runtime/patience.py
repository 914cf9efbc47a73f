"""Time limits for calls that cannot be interrupted, such as a DNS query that hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
ANSWER_SECONDS = 4.0
"""Time limit of a network request's answer, short enough that a machine without network fails at once."""


def in_time(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`, or its exception. Past the limit `work` continues in a thread that ends with the process.

    Raises:
        TimeoutError: `work` took longer than `seconds`.
    """
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            answers.put((work(), None))
        except Exception as error:  # any: it is raised again in the waiting thread
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        found, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return found
