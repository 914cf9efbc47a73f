"""Snakemake's commands, printed by a dry run and called in this process: fifty starts of Python less.

Left out are the checks of networks (`tests/plan/test_presets.py`) and the figures beside the report.
"""

from __future__ import annotations

import importlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiny import ROOT, environment


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
        program = words[3:] if words[2] == "wsss.runtime.start" else words[2:]
        for output in self.outputs:
            Path(output).parent.mkdir(parents=True, exist_ok=True)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", program)
            patch.setattr("wsss.stages.report.save_figures", lambda *_: None)
            try:
                importlib.import_module(program[0]).main()
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


class Jobs:
    """The jobs of a project with a config.yaml; `make` runs those that a target needs and that have not run."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
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
        command += ["--directory", str(folder), *targets]
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
