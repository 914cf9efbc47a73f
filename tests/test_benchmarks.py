"""Benchmarks are measured by hand; here, that each still fits the code that it measures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py")))
def test_a_benchmark_is_imported(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import_module(f"benchmarks.{name}")
