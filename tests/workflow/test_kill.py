"""`kill -9` in the middle of each training: the same command again ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tiny import TINY, Project, environment

TRAININGS = ("train_classifier", "train_affinity", "train_segmentation")


def wait_for_checkpoint(project: Project, stage: str, process: subprocess.Popen, after: float) -> None:
    """Returns once the stage has written a checkpoint newer than `after` and is not finished."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, f"snakemake ended before {stage} could be killed"
        for state in project.folder.glob(f"results/stages/{stage}/*/state/state.pt"):
            if state.stat().st_mtime > after and not (state.parents[1] / "model.safetensors").exists():
                return
        time.sleep(0.02)
    raise AssertionError(f"{stage} wrote no checkpoint")


def pids(project: Project, text: str) -> list[int]:
    """Processes below the project's folder whose command line holds `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if text in command and (path / "cwd").resolve() == project.folder.resolve():
                found.append(int(path.name))
        except (OSError, ProcessLookupError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("victim", ["training", "snakemake"])
def test_killed_trainings_end_with_the_same_bytes(tiny, tmp_path, victim):
    run = {**TINY, "train_classifier": {"training": {"epochs": 8, "batch_size": 8}}}
    undisturbed = Project(tmp_path / "undisturbed", run)
    assert undisturbed.snakemake().returncode == 0
    project = Project(tmp_path / "killed", run)
    for stage in TRAININGS:
        started = time.time()
        process = subprocess.Popen(
            project.command(),
            env=environment(),
            cwd=project.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_checkpoint(project, stage, process, started)
        if victim == "snakemake":
            process.kill()  # its child trains on: the next command has to wait for it or take over
        else:
            for pid in pids(project, f"wsss.stages.{stage}"):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        project.snakemake("--unlock")
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-2000:]
    assert project.table.read_bytes() == undisturbed.table.read_bytes()
    shutil.rmtree(project.folder)
