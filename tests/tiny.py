"""A tiny run of the whole workflow, for tests that start Snakemake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TINY: dict[str, Any] = {
    "preset": "shapes",
    "prepare_data": {"dataset": "shapes", "train": 24, "val": 8},
    "train_classifier": {"training": {"epochs": 2, "batch_size": 8}},
    "train_affinity": {"training": {"epochs": 1, "batch_size": 8}},
    "train_segmentation": {"training": {"epochs": 1, "batch_size": 8}},
    "upper_bound": False,
}
EXECUTION = {"shards": 1, "checkpoint_seconds": 0.01}


class Project:
    """A working directory with a config of its own."""

    def __init__(self, folder: Path, run: dict[str, Any], **execution: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(run, **execution)

    def configure(self, run: dict[str, Any], **execution: Any) -> None:
        config = {"runs": {"tiny": run}, "execution": EXECUTION | execution}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def command(self, *arguments: str, target: str = "results/tiny/miou.csv") -> list[str]:
        base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
        return [*base, "--directory", str(self.folder), *arguments, target]

    def snakemake(self, *arguments: str, more: Sequence[str] = (), **kwargs: str) -> subprocess.CompletedProcess:
        command = [*self.command(*arguments, **kwargs), *more]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)

    @property
    def table(self) -> Path:
        return self.folder / "results" / "tiny" / "miou.csv"


def environment() -> dict[str, str]:
    """One thread a job, so that bits do not depend on how busy the machine is."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
