"""Shows every running and finished stage of every run: `wsss status`, refreshed until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wsss.cli.jobs import Job, StepStatus, read_status
from wsss.config.hints import configurations, making, project_of
from wsss.runtime.ending import plain_ending
from wsss.runtime.progress import duration
from wsss.runtime.targets import a_path

_COLOURS = {"running": "cyan", "done": "green", "stopped": "yellow", "failed": "red", "died": "red"}
WIDE = 130
"""Width of a terminal, in characters, from which on every column is shown."""
_WHOLE = 24
"""Characters of the longest step's name."""
_NARROW = ("step", "run", "state", "done", "left")


def status_table(steps: list[StepStatus], results: Path, width: int = WIDE) -> Table:
    """One line per step, summed over its jobs. width: of the terminal, in characters."""
    table = Table(title=f"{results}, {time.strftime('%H:%M:%S')}", title_justify="left", box=None, pad_edge=False)
    columns = _COLUMNS if width >= WIDE else _NARROW
    for name in columns:
        table.add_column(
            name, justify=_JUSTIFY.get(name, "left"), overflow="fold", min_width=_WHOLE if name == "step" else None
        )
    for step in steps:
        cells = _cells(step)
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


def _cells(step: StepStatus) -> dict[str, Any]:
    """Column → content."""
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
        "": ProgressBar(total=max(total, 1), completed=done, width=16),
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
    seconds = sum(job.number("before") + job.number("updated") - job.number("started") for job in step.jobs)
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
