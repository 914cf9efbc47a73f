"""The package as it is installed from a wheel, without the clone: everything that a run needs is in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from tiny import ROOT, TINY, environment
from wsss.plan.run import plan_runs

SOURCES = ("src", "workflow", "envs", "Snakefile", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def installed(tmp_path) -> Path:
    """A folder with the files of the wheel."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, clone / name, **({"symlinks": True} if copy is shutil.copytree else {}))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*build, "--wheel-dir", str(tmp_path)], cwd=clone, check=True, capture_output=True)
    shutil.rmtree(clone)
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_a_stage_runs_under_the_key_that_it_has_in_a_clone(installed, tmp_path):
    config = {"runs": {"tiny": TINY}, "execution": {"shards": 1}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    target = f"{plan_runs(config)['tiny'].steps[0].folder}/index.csv"
    snakefile = installed / "wsss" / "workflow" / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--cores", "1", "--", target]
    where = {"cwd": tmp_path, "env": environment() | {"PYTHONPATH": str(installed)}}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **where)
    assert done.returncode == 0 and (tmp_path / target).is_file(), done.stderr[-2000:]
