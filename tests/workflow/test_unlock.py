"""A folder that a killed Snakemake left locked is unlocked by its plain command, and by that of `wsss run`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tiny import TINY, Project, environment
from wsss.cli.launch import snakemake


def without_cores(project: Project) -> list[str]:
    command = project.command("--unlock")
    at = command.index("--cores")
    return [*command[:at], *command[at + 2 :]]


@pytest.mark.parametrize("of", [without_cores, lambda _: snakemake(Path("config.yaml"), "tiny", 2, "--unlock")])
def test_unlocking_removes_what_a_killed_command_left(of, tmp_path):
    project = Project(tmp_path, TINY)
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/tiny/miou.csv\n")
    done = subprocess.run(
        of(project), capture_output=True, text=True, env=environment(), check=False, cwd=project.folder
    )
    assert done.returncode == 0, done.stderr
    assert "Unlocked" in done.stderr and not lock.exists()
