"""The Snakemake command that makes a missing file, for error messages."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss.runtime.plain_yaml import read_yaml

DEFAULT = "config.yaml"
"""The configuration that Snakemake reads without `--configfile`."""


def configurations(project: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(path, content) of each YAML file in a project's folder that defines runs; `config.yaml` first."""
    files = sorted(project.glob("*.yaml"), key=lambda path: (path.name != DEFAULT, path.name))
    for path in files:
        try:
            content = read_yaml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and isinstance(content.get("runs"), dict):
            yield path, content


def making(run: Path, product: str = "miou.csv") -> str:
    """The command `snakemake … results/{run}/{product}` to type in the project's folder. run: the results folder."""
    project = run.parent.parent
    known = next((path for path, content in configurations(project) if run.name in content["runs"]), None)
    option = f"--configfile {shlex.quote(known.name)} " if known and known.name != DEFAULT else ""
    target = shlex.quote(f"{run.parent.name}/{run.name}/{product}")
    return f"snakemake --cores all {option}-- {target}"
