"""Shows every running and finished stage of every run: `wsss status`, refreshed until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsss.config.hints import configurations, making, project_of, yaml_files
from wsss.plan.run import STAGES, Plan, plan_runs
from wsss.runtime.ending import plain_ending
from wsss.runtime.progress import duration
from wsss.runtime.records import is_of, read_record
from wsss.runtime.targets import a_path

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
        return next(state for state in ("running", "failed", "died", "stopped", "done") if state in states)


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
        if content["state"] in _COLOURS and _is_sound(content):
            yield Job(path.stem, _state(content), content)


_NUMBER = (int, float)
_NUMBERS = ("done", "total", "reused", "per_second", "eta_seconds", "gpu_mib")


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
    try:
        os.kill(content["pid"], 0)
    except ProcessLookupError:
        return "died"
    except (PermissionError, OverflowError):
        pass
    return "running"


_COLOURS = {"running": "cyan", "done": "green", "stopped": "yellow", "failed": "red", "died": "red"}


WIDE = 130
"""Width of a terminal, in characters, from which on every column is shown."""
_WHOLE = 20
"""Characters of the longest stage's name."""
_NARROW = ("step", "run", "state", "", "done", "left")


def status_table(steps: list[StepStatus], results: Path, width: int = WIDE) -> Table:
    """One line per step, summed over its jobs. width: of the terminal, in characters."""
    table = Table(title=f"{results}, {time.strftime('%H:%M:%S')}", title_justify="left", box=None, pad_edge=False)
    columns = _COLUMNS if width >= WIDE else _NARROW
    for name in columns:
        table.add_column(
            name, justify=_JUSTIFY.get(name, "left"), overflow="fold", min_width=_WHOLE if name == "step" else None
        )
    for step in steps:
        cells = _cells(step, bar=16 if width >= WIDE else 6)
        table.add_row(*(cells[name] for name in columns))
    return table


_COLUMNS = ("step", "run", "state", "", "done", "speed", "left", "loss", "GPU memory", "log")
_JUSTIFY = {"speed": "right", "left": "right", "loss": "right", "GPU memory": "right"}


def _logs(steps: list[StepStatus]) -> Iterator[Text]:
    """The logs of running or failed steps, for a table without room for them."""
    for step in steps:
        if step.state != "done":
            yield Text(f"{_label(step)}: {_last(step).content.get('log') or 'no log'}", overflow="fold")


def _last(step: StepStatus) -> Job:
    """The job to show: a failed one, else the latest."""
    return max(step.jobs, key=lambda job: (job.state in ("failed", "died"), job.number("updated")))


def _cells(step: StepStatus, bar: int) -> dict[str, Any]:
    """Column → content. bar: width of the bar in characters."""
    running = [job for job in step.jobs if job.state == "running"]
    done, total = sum(job.number("done") for job in step.jobs), sum(job.number("total") for job in step.jobs)
    unit = next((job.content["unit"] for job in step.jobs if "unit" in job.content), "")
    reused = sum(job.number("reused") for job in step.jobs)
    last = _last(step)
    runs = dict.fromkeys(name.split("/")[0] for name in step.names)
    return {
        "step": Text(_label(step)),
        "run": Text(", ".join(runs) or "–"),
        "state": Text(_state_text(step, running), style=_COLOURS[step.state]),
        "": ProgressBar(total=max(total, 1), completed=done, width=bar),
        "done": f"{done:.0f}/{total:.0f} {unit}{f', {reused:.0f} reused' if reused else ''}" if total else "",
        "speed": _speed(running),
        "left": duration(max(job.number("eta_seconds") for job in running)) if running and total else _took(step),
        "loss": _loss(last),
        "GPU memory": f"{max(job.number('gpu_mib') for job in step.jobs):.0f} MiB" if "gpu_mib" in last.content else "",
        "log": Text(str(last.content.get("log") or "")),
    }


def _label(step: StepStatus) -> str:
    """The step's names in its runs, or its stage and key if no run has it."""
    labels = dict.fromkeys(name.split("/")[1] for name in step.names)
    return ", ".join(labels) or f"{step.stage} {step.folder.name[:6]}"


def _state_text(step: StepStatus, running: list[Job]) -> str:
    jobs = f" ({len(running)}/{len(step.jobs)} jobs)" if running and len(step.jobs) > 1 else ""
    return f"{step.state}{jobs}"


def _speed(running: list[Job]) -> str:
    counting = [job for job in running if "per_second" in job.content]
    if not counting:
        return ""
    return f"{sum(job.number('per_second') for job in counting):.1f} {counting[0].content.get('rate_unit', 'images')}/s"


def _took(step: StepStatus) -> str:
    seconds = sum(job.number("updated") - job.number("started") for job in step.jobs)
    return f"took {duration(seconds)}"


def _loss(job: Job) -> str:
    """The sum of the loss terms."""
    losses = job.content.get("losses")
    return f"{sum(losses.values()):.4g}" if losses else ""


def render(results: Path, width: int = WIDE) -> Group:
    """The table, or the command to start with if there are no results. width: of the terminal, in characters."""
    steps = read_status(results)
    if not steps:
        return Group(Text(f"No stage has begun under {results}; start one with: {_start(results)}"))
    table = status_table(steps, results, width)
    return Group(table) if width >= WIDE else Group(table, *_logs(steps))


def _start(results: Path) -> str:
    """The command of the first run that is configured beside `results`."""
    for _, content in configurations(project_of(results)):
        return making(results / next(iter(content["runs"]), "RUN"))
    return "wsss run IMAGES --labels LABELS.csv"


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss status", description=__doc__)
    parser.add_argument(
        "results", type=a_path, nargs="?", default=Path("results"), help="folder of results (default: results)"
    )
    parser.add_argument("--once", action="store_true", help="print the table once")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between refreshes (default: 1)")
    args = parser.parse_args(arguments)
    console = Console()
    with plain_ending("status"):
        if args.results.exists() and not args.results.is_dir():
            raise ValueError(f"{args.results}: is a file; accepted is the folder of results")
        if (args.results / "run.json").is_file():
            raise ValueError(f"{args.results}: is the folder of one run; accepted is {args.results.parent}, of all")
        if not 0 < args.every <= 3600:
            raise ValueError(f"--every {args.every:g}; accepted: seconds, more than 0 and up to 3600")
        _show(args, console)


def _show(args: argparse.Namespace, console: Console) -> None:
    if args.once or not console.is_terminal:
        console.print(render(args.results, console.width))
        return
    try:
        with Live(render(args.results, console.width), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(args.every)
                live.update(render(args.results, console.width), refresh=True)
    except KeyboardInterrupt:
        console.print(render(args.results, console.width))


if __name__ == "__main__":
    main()
