"""Stage programs, run in this process."""

from __future__ import annotations

import importlib
import json
import signal
from pathlib import Path

import pytest

from small_data import Outcome


@pytest.fixture
def stage(monkeypatch, capfd):
    """Runs a stage's main with arguments; its signal handlers are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(name: str, out: Path, *arguments: object, config: object = None) -> Outcome:
        main = importlib.import_module(f"wsss.stages.{name}").main
        options = ["--out", str(out), "--threads", "1"] if config is not None else []
        options += ["--config", config if isinstance(config, str) else json.dumps(config)] if config is not None else []
        monkeypatch.setattr("sys.argv", [name, *options, *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return Outcome(code, capfd.readouterr().err, out)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
