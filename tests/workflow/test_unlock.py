"""A folder that a killed Snakemake left locked is unlocked by its plain command."""

from __future__ import annotations

import subprocess

from tiny import TINY, Project, environment


def test_unlocking_needs_no_cores(tmp_path):
    project = Project(tmp_path, TINY)
    command = project.command("--unlock")
    at = command.index("--cores")
    command = [*command[:at], *command[at + 2 :]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "Unlocked" in done.stderr
