"""What all tests share: a core each, and a run with little time begins no further long test."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator, Iterator

import pytest

STARTED = time.monotonic()
LONG = (
    "test_tiny_run.py",
    "test_outside.py",
    "test_identity.py",
    "test_golden.py",
    "test_distributed.py",
    "test_scale.py",
    "test_damage.py",
    "test_hostile_names.py",
    "test_predict.py",
)
"""Files of half a minute and more, the longest first."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of programs are started, which then compile each module once
if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side: a thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Stages that run within a test take signals over; children forked by the next one would not end by them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _same_random_networks() -> None:
    """Networks that a test initialises are the same whatever tests ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, in the order of `LONG`: a file is one process's, and the last is waited for."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked slow once `WSSS_SLOW_SECONDS` have passed, and says so; without the variable, nothing."""
    seconds = os.environ.get("WSSS_SLOW_SECONDS")
    if seconds and item.get_closest_marker("slow") and time.monotonic() - STARTED > float(seconds):
        pytest.skip(f"no time left: {seconds} s for the tests marked slow have passed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was printed travels between processes as text, also where it holds file names that are none."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
