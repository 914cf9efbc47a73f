"""What all tests share: a run with little time begins no further long test."""

from __future__ import annotations

import os
import time

import pytest

STARTED = time.monotonic()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked slow once `WSSS_SLOW_SECONDS` have passed, and says so; without the variable, nothing."""
    seconds = os.environ.get("WSSS_SLOW_SECONDS")
    if seconds and item.get_closest_marker("slow") and time.monotonic() - STARTED > float(seconds):
        pytest.skip(f"no time left: {seconds} s for the tests marked slow have passed")
