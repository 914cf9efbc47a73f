"""A project's configurations, and the command that makes what is missing, for hints."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsss.config.loading import WORKFLOW
from wsss.runtime.files import regular
from wsss.runtime.plain_yaml import read_yaml

DEFAULT = "config.yaml"
"""The configuration that Snakemake reads without `--configfile`."""

SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
"""Where Snakemake looks for its rules; in a folder without any, a command names those of the package."""

MENTIONED = 8
"""Largest number of runs that a hint names."""


def project_of(results: Path) -> Path:
    """The project's folder: the one that contains the folder of results, or a link to it."""
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
    """The YAML files in a project's folder, which may be configurations; `config.yaml` first."""
    files = (path for path in project.glob("*.*") if path.suffix.lower() in (".yaml", ".yml"))
    return sorted(files, key=lambda path: (path.name != DEFAULT, path.name))


def making(run: Path) -> str:
    """The command `snakemake … results/{run}/miou.csv` to type in the project's folder. run: the results folder."""
    run = Path(os.path.abspath(run))  # noqa: PTH100
    project = run.parent.parent
    known = next((path for path, content in configurations(project) if run.name in content["runs"]), None)
    config = known.name if known and known.name != DEFAULT else None
    return snakemake(project, config, f"{run.parent.name}/{run.name}/miou.csv")


def snakemake(project: Path, config: str | None, target: str) -> str:
    """The command that makes a target of a configuration, to type in the project's folder."""
    own = any((project / name).is_file() for name in SNAKEFILES)
    rules = () if own else ("--snakefile", str(WORKFLOW / "Snakefile"))
    configured = ("--configfile", config) if config else ()
    return shlex.join(["snakemake", "--cores", "all", *rules, *configured, "--", target])


def lacking(run: Path, what: str) -> str:
    """A line on a run's folder that lacks something: the command that makes it, or which folder may be meant.

    what: what is not there.
    """
    if run.exists() and not run.is_dir():
        return f"{run}: is a file; accepted is the folder of a run, e.g. results/RUN"
    if (run / "stages").is_dir():
        runs = ", ".join(path.name for path in finished_runs(run))
        return f"{run}: holds all results; name a run's folder there: {runs or 'none is finished'}"
    whole = Path(os.path.abspath(run))  # noqa: PTH100
    begun = whole.is_dir() and (whole.parent / "stages").is_dir() and whole.name != "stages"
    if begun or any(whole.name in content["runs"] for _, content in configurations(whole.parent.parent)):
        return f"{run}: {what}; make it with: {making(run)}"
    places = [place for place in (run.parent, Path("results")) if (place / "stages").is_dir()]
    found = list(dict.fromkeys(str(path) for place in places for path in finished_runs(place)))
    named = f"accepted here: {', '.join(found[:MENTIONED])}" if found else "accepted is one, e.g. results/RUN"
    return f"{run}: {what}, as it is no folder of a run; {named}"


def finished_runs(results: Path) -> list[Path]:
    """The folders of a folder of results that hold a finished run."""
    return sorted(path.parent for path in results.glob("*/run.json"))
