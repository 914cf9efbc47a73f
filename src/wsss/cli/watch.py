"""One bar over all stages of a run, drawn from the progress files of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from wsss.cli.jobs import Job, read_jobs
from wsss.plan.steps import Step
from wsss.runtime.progress import duration

BEGINNING, REPORT = 10.0, 10.0
"""Seconds before the first step and after the last, which have no progress file: checks; the table and the report."""
LAST = "writing the report"
_MOST = 5.0
"""Largest factor by which a machine is assumed to be slower or faster than predicted."""


@dataclass(frozen=True)
class Part:
    """An unfinished step. seconds: predicted; jobs: number of its programs."""

    step: Step
    seconds: float
    jobs: int

    def done(self, jobs: list[Job]) -> float:
        """Share done, in 0..1, from the progress of its jobs."""
        return min(1.0, sum(_share(job) for job in jobs) / max(self.jobs, len(jobs)))


def _share(job: Job) -> float:
    if job.state == "done":
        return 1.0
    return min(0.99, job.number("done") / max(job.number("total"), 1.0))


class Watch:
    """Progress of the parts and time left.

    The predictions weight the parts; the time spent so far calibrates the speed of the machine.
    """

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.total = BEGINNING + REPORT + sum(part.seconds for part in parts)
        self._since = time.time()
        self._before = self._finished(self._jobs())

    def look(self) -> tuple[float, float, list[str]]:
        """Share done (0..1), seconds left, and the labels of the steps at work, after the last one `LAST`."""
        jobs = self._jobs()
        finished = self._finished(jobs)
        running = [part.step.label for part, found in jobs if any(job.state == "running" for job in found)]
        last = all(part.done(found) == 1 for part, found in jobs)
        return finished / self.total, self._left(finished), [LAST] if last else running

    def _jobs(self) -> list[tuple[Part, list[Job]]]:
        return [(part, list(read_jobs(part.step.folder))) for part in self.parts]

    def _finished(self, jobs: list[tuple[Part, list[Job]]]) -> float:
        """Predicted seconds of what is done."""
        begun = any(job.number("started") >= self._since for _, found in jobs for job in found)
        return BEGINNING * begun + sum(part.seconds * part.done(found) for part, found in jobs)

    def _left(self, finished: float) -> float:
        done = max(finished - self._before, 1e-9)
        trust = min(1.0, 3 * done / self.total)
        slower = min(_MOST, max(1 / _MOST, (time.time() - self._since) / done))
        return (self.total - finished) * (trust * slower + 1 - trust)


@contextmanager
def bar(console: Console, watch: Watch, words: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Context with a function that shows the progress: on a terminal by a bar, else by a line per stage.

    words: stage → description.
    """
    width = max(map(len, words.values()))
    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, said = progress.add_task("starting".ljust(width), total=1.0, left=""), ""

        def show() -> None:
            nonlocal said
            share, left, running = watch.look()
            now = words.get(running[0].partition("-")[0], running[0]) if running else said or "starting"
            text = f"about {rounded(left)} left"
            progress.update(task, completed=share, description=now[:width].ljust(width), left=text)
            if now != said and not console.is_terminal:
                console.print(f"{now}: {share:.0%} of all is done, {text}", highlight=False)
            said = now

        yield show


def rounded(seconds: float) -> str:
    """An estimated duration, such as `15 s`, `4 min` or `2 h 10 min`."""
    step = 5 if seconds < 60 else 60 if seconds < 7200 else 600
    return duration(max(step, round(seconds / step) * step)).removesuffix(" 00 s")


def finished(folder: Path) -> bool:
    """Whether a step's folder has progress files, all of them done."""
    jobs = list(read_jobs(folder))
    return bool(jobs) and all(job.state == "done" for job in jobs)
