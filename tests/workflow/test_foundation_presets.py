"""Every whole preset on a foundation model, with tiny networks, from images to miou.csv and the report.

The commands are Snakemake's own, printed by a dry run and called in this process: fifty starts of Python less. Left out
are the checks of networks (`tests/plan/test_presets.py`) and the figures beside the report.
"""

from __future__ import annotations

import importlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tiny import ROOT, environment
from tiny_systems import foundation_runs

pytestmark = pytest.mark.timeout(600)

ROWS = {
    "clip-es": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "clip-es-coco": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "sam-fma": {"cam-train", "pseudo_label-train", "segmentation-val"},
    "dino-propagation": {"cam-train", "refined-train", "pseudo_label-train", "segmentation-val"},
    "weclip": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
    "weclip-coco": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
    "weclip-plus": {"cam-train", "pseudo_label-train", "end_to_end-val", "end_to_end_crf-val"},
}
TARGETS = [f"results/{name}/{file}" for name in ROWS for file in ("miou.csv", "report.html")]


@dataclass(frozen=True)
class Job:
    """A job of Snakemake's: its rule, its files, and its command."""

    rule: str
    inputs: list[str]
    outputs: list[str]
    command: str

    def run(self) -> None:
        """Calls the command's program in this process, as far as the pipe into the log."""
        words = shlex.split(self.command.partition(" 2>&1")[0])
        assert words[:2] == ["python", "-m"], self.command
        for output in self.outputs:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[2:])
            patch.setattr("wsss.stages.report.save_figures", lambda *_: None)
            try:
                importlib.import_module(words[2]).main()
            except SystemExit as end:
                assert not end.code, f"{self.rule}: exit status {end.code}"
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)


def jobs(text: str) -> Iterator[Job]:
    """The jobs that a dry run prints, in its order, in which inputs come first."""
    for block in re.split(r"\n(?=\[\w{3} \w{3} )", text):
        found = {
            key: re.search(rf"^ *{key}: (.*)$", block, re.MULTILINE) for key in ("input", "output", "Shell command")
        }
        if found["Shell command"]:
            files = [found[key][1].split(", ") if found[key] else [] for key in ("input", "output")]
            yield Job(re.search(r"rule (\w+):", block)[1], *files, found["Shell command"][1])


class Runs:
    """Every run in one project; `make` runs the jobs of one of them that no other has run."""

    def __init__(self, folder: Path, shards: int) -> None:
        (folder / "data").mkdir(parents=True)
        execution = {"shards": shards, "device": "cpu", "workers": 0}
        config = {"runs": foundation_runs(folder / "data"), "execution": execution}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--cores",
            "1",
            "-n",
            "-p",
        ]
        command += ["--directory", str(folder), *TARGETS]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        self.folder, self.jobs = folder, list(jobs(done.stdout + done.stderr))
        self.maker = {output: job for job in self.jobs for output in job.outputs}
        self.done: set[str] = set()

    def make(self, target: str) -> Path:
        with chdir(self.folder):
            self._make(self.maker[target])
        return self.folder / target

    def _make(self, job: Job) -> None:
        if job.outputs[0] in self.done or job.rule == "check_networks":
            return
        self.done.add(job.outputs[0])
        for name in job.inputs:
            if name in self.maker:
                self._make(self.maker[name])
        job.run()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("foundation"), shards=1)


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_runs_from_images_to_the_report(name, runs):
    page = runs.make(f"results/{name}/report.html")
    table = pd.read_csv(page.with_name("miou.csv"))
    assert set(table["stage"] + "-" + table["split"]) >= ROWS[name] and table["miou"].between(0, 100).all()
    assert name in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("shards", [3, 8])
def test_other_numbers_of_shards_change_no_result(shards, runs, tmp_path):
    other = Runs(tmp_path / "other", shards)
    parts = {job.rule for job in runs.jobs if job.rule.endswith("_shard")}
    for rule in parts:
        assert sum(job.rule == rule for job in other.jobs) == shards * sum(job.rule == rule for job in runs.jobs)
    for name in ROWS:
        table = f"results/{name}/miou.csv"
        assert other.make(table).read_bytes() == runs.make(table).read_bytes(), name
