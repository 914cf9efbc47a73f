"""The steps under a folder of results, by progress files, links and configurations."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wsss.config.hints import configurations, project_of, yaml_files
from wsss.plan.run import Plan, plan_runs
from wsss.plan.steps import STAGES
from wsss.runtime.files import is_alive
from wsss.runtime.records import is_of, read_record

STATES = ("running", "failed", "died", "stopped", "done")
"""Of a job, the most important first."""
_NUMBER = (int, float)
_NUMBERS = ("done", "total", "reused", "before", "per_second", "eta_seconds", "gpu_mib")
SILENT_SECONDS = 300
"""Seconds without an update after which a job on another machine is considered dead."""


@dataclass(frozen=True)
class Job:
    """One job of a step, from its progress file. state: running, done, stopped, failed or died."""

    name: str
    state: str
    content: dict[str, Any]

    def number(self, key: str) -> float:
        """A number of the progress file; 0 if it is not there."""
        return float(self.content.get(key) or 0.0)


@dataclass(frozen=True)
class StepStatus:
    """A step's folder, its stage, its `run/label` names, and its jobs."""

    stage: str
    folder: Path
    names: list[str]
    jobs: list[Job]

    @property
    def state(self) -> str:
        """The most important state of the step's jobs."""
        states = {job.state for job in self.jobs}
        return next(state for state in STATES if state in states)


def read_status(results: Path) -> list[StepStatus]:
    """The steps under `results`, those that changed last at the end."""
    project = project_of(results)
    written = tuple((file, file.stat().st_mtime_ns) for file in yaml_files(project))
    return read_steps(results, linked_names(results) | _planned_names(project, results.resolve(), written))


def read_steps(results: Path, names: Mapping[Path, list[str]]) -> list[StepStatus]:
    """The steps under `results`. names: stage folder → its `run/label` names."""
    found = []
    for folder in sorted((results / "stages").glob("*/*/")):
        jobs = list(read_jobs(folder))
        if jobs:
            found.append(StepStatus(folder.parent.name, folder, names.get(folder.resolve(), []), jobs))
    return sorted(found, key=lambda step: min(job.number("started") for job in step.jobs))


@lru_cache(maxsize=1)
def _planned_names(project: Path, results: Path, written: tuple[tuple[Path, int], ...]) -> dict[Path, list[str]]:
    """Stage folder → `run/label` of the runs in the configurations of a project, finished or not.

    written: the configurations' times, so that they are planned again when they change, and not every second.
    """
    names: dict[Path, list[str]] = {}
    for _, content in configurations(project) if written else ():
        try:
            steps = planned_steps(project, lambda content=content: plan_runs(content).values())
        except (OSError, ValueError):  # of data that is not there, or a mistake that the run itself tells
            continue
        for run, label, folder in steps:
            names.setdefault((results / folder.relative_to(STAGES.parent)).resolve(), []).append(f"{run}/{label}")
    return names


def planned_steps(project: Path, plans_of: Callable[[], Iterable[Plan]]) -> list[tuple[str, str, Path]]:
    """(run, label, folder) of every step of planned runs; folders are relative to the project.

    All is computed in the project's folder: relative paths of a configuration are those of its project, and a step's
    folder depends on the content of these files.
    """
    with chdir(project):
        return [(plan.run, step.label, step.folder) for plan in plans_of() for step in plan.steps]


def linked_names(results: Path) -> dict[Path, list[str]]:
    """Stage folder → `run/label` of each link to it."""
    names: dict[Path, list[str]] = {}
    for link in sorted(results.glob("*/*")):
        if link.is_symlink() and link.is_dir():
            names.setdefault(link.resolve(), []).append(f"{link.parent.name}/{link.name}")
    return names


def read_jobs(folder: Path) -> Iterator[Job]:
    """The jobs of a step's folder, by their progress files."""
    for path in sorted((folder / "progress").glob("*.json")):
        try:
            content = read_record(path, state=str, host=str, pid=int, started=_NUMBER, updated=_NUMBER)
        except (OSError, ValueError):
            continue  # removed meanwhile, or truncated by a full disk
        if content["state"] in STATES and _is_sound(content):
            yield Job(path.stem, _state(content), content)


def _is_sound(content: dict[str, Any]) -> bool:
    """Whether the values of a progress file have the right types."""
    given = [content[name] for name in _NUMBERS if content.get(name) is not None]
    losses = content.get("losses") or {}
    texts = [content.get(name) or "" for name in ("unit", "rate_unit", "log", "stage")]
    if not isinstance(losses, dict) or not all(isinstance(loss, float) or is_of(loss, int) for loss in losses.values()):
        return False  # a loss may be NaN: a training run that diverged
    return all(is_of(n, _NUMBER) for n in given) and all(isinstance(text, str) for text in texts)


def _state(content: dict[str, Any]) -> str:
    """The file's state, or `died` if its process is gone."""
    if content["state"] != "running":
        return content["state"]
    if content["host"] != platform.node():
        return "died" if time.time() - content["updated"] > SILENT_SECONDS else "running"
    return "running" if is_alive(content["pid"]) else "died"
