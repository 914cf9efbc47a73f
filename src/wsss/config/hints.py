"""A project's configurations, and the command that makes what is missing, for hints."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss.runtime.files import regular
from wsss.runtime.plain_yaml import read_yaml

DEFAULT = "config.yaml"
"""The configuration that Snakemake reads without `--configfile`."""


def project_of(results: Path) -> Path:
    """The folder that a folder of results lies in, or a link to one: its configurations are written for it."""
    return Path(os.path.abspath(results)).parent  # noqa: PTH100 (a link's own place counts)


def configurations(project: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(path, content) of each YAML file in a project's folder that defines runs; `config.yaml` first."""
    for path in yaml_files(project):
        try:
            content = read_yaml(regular(path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and isinstance(content.get("runs"), dict):
            yield path, content


def yaml_files(project: Path) -> list[Path]:
    """What may be a configuration in a project's folder; `config.yaml` first."""
    files = (path for path in project.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    return sorted(files, key=lambda path: (path.name != DEFAULT, path.name))


def making(run: Path, product: str = "miou.csv") -> str:
    """The command `snakemake … results/{run}/{product}` to type in the project's folder. run: the results folder."""
    run = Path(os.path.abspath(run))  # noqa: PTH100
    project = run.parent.parent
    known = next((path for path, content in configurations(project) if run.name in content["runs"]), None)
    option = f"--configfile {shlex.quote(known.name)} " if known and known.name != DEFAULT else ""
    target = shlex.quote(f"{run.parent.name}/{run.name}/{product}")
    return f"snakemake --cores all {option}-- {target}"
