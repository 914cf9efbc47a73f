"""Snakemake as a process of `wsss run`: its command, how it is stopped, and why it failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wsss.config.loading import WORKFLOW
from wsss.runtime.locks import try_lock
from wsss.runtime.process import Terminated

PATIENCE = 60
"""Seconds that stopped stages have to save their checkpoints."""


def snakemake(config: Path, run: str, cores: int, *options: str) -> list[str]:
    """The command that makes a run's table and report; options: further ones of Snakemake."""
    profile = str(WORKFLOW / "profiles" / "default")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]
    command += ["--workflow-profile", profile, "--configfile", str(config), "--cores", str(cores)]
    return [*command, *options, "--", f"results/{run}/miou.csv", f"results/{run}/report.html"]


def work(command: list[str], log: Path, show: Callable[[], None]) -> int:
    """Runs a command in its own process group; an interruption stops the group first. Returns its exit status.

    Raises:
        ValueError: another command writes this log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        if not try_lock(output):
            raise ValueError(f"{log}: another command is making this run; wait for its end, or stop it")
        output.truncate(0)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            with _ended_with_us(process.pid):
                while process.poll() is None:
                    show()
                    time.sleep(0.5)
        except BaseException:
            _stop(process)
            raise
    return process.returncode


@contextmanager
def _ended_with_us(group: int) -> Iterator[None]:
    """Context in which a shell waits for the end of this process, also by `kill -9`, and then interrupts the group."""
    script = ["sh", "-c", 'read -r _; kill -s INT -- "-$0"', str(group)]
    watcher = subprocess.Popen(script, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    with watcher:
        try:
            yield
        finally:
            watcher.kill()


def _stop(process: subprocess.Popen) -> None:
    """Stops the process group: stages save their state; after a second signal or a timeout they are killed."""
    try:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)
    except (Terminated, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def reason(log: Path) -> str:
    """One line on the failure of a workflow: a stage's error message, or the last line of Snakemake's log."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if told := next((line for line in lines if re.match(r"\[[\w ]+\] error: ", line)), None):
        return told
    killed = (re.search(r"-m wsss\.stages\.(\w+) .* died with <Signals\.(\w+)", line) for line in lines)
    if found := next(filter(None, killed), None):
        return f"[{found[1]}] was ended by {found[2]}, as when memory runs out; with --cores 1 less is needed"
    if any("cannot be locked" in line or "LockException" in line for line in lines):
        return "another command works in this folder; if none does (one was killed), give --unlock once"
    return lines[-1] if lines else "it said nothing"
