"""Progress of long work: readable lines in logs, a bar on a terminal, one JSON file a job for `wsss status`."""

from __future__ import annotations

import atexit
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from wsss.runtime.files import write_atomically
from wsss.runtime.process import Terminated

log = logging.getLogger("wsss")


class JobFile:
    """The JSON file that says how a job is doing; rewritten whole, read by `wsss status`.

    Keys: state (running, done, stopped or failed), stage, pid, host, log, started, updated (seconds since 1970),
    before (seconds that processes spent which were interrupted), and once work is counted those of `Progress`.
    """

    def __init__(self, path: Path, stage: str, log_file: Path | None) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "stage": stage,
            "pid": os.getpid(),
            "host": platform.node(),
            "log": str(log_file) if log_file else None,
            "started": time.time(),
            "before": _spent(path),
        }

    def write(self, state: str = "running", **values: Any) -> None:
        """Puts `values` beside what is known already."""
        self.content |= {"state": state, "updated": time.time(), **_gpu_memory(), **values}
        with suppress(OSError):  # a full disk must stop the work itself, with its own message
            write_atomically(self.path, json.dumps(self.content))


def _spent(path: Path) -> float:
    """Seconds that a job's processes have spent on it so far, if it was never done."""
    try:
        last = json.loads(path.read_text(encoding="utf-8"))
        unfinished = last["state"] != "done"
        return max(0.0, last["before"] + last["updated"] - last["started"]) if unfinished else 0.0
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0


_current: JobFile | None = None


@contextmanager
def job_file(path: Path, stage: str, log_file: Path | None) -> Iterator[float]:
    """Every `Progress` inside tells `path` how far it is; at the end the file says how the job ended.

    Gives the seconds that interrupted processes spent on the job before.
    """
    global _current
    job = _current = JobFile(path, stage, log_file)
    job.write()
    try:
        yield job.content["before"]
    except BaseException as error:
        job.write("stopped" if isinstance(error, Terminated) else "failed")
        raise
    finally:
        _current = None
    job.write("done")


def tell(**values: float) -> None:
    """Puts further numbers into the file of the job that is at work, if one is."""
    if _current:
        _current.write(**values)


class Progress:
    """Counts work done; logs a line every few seconds, draws a bar on a terminal, and keeps the job's file.

    Args:
        total: how much work there is, in `unit`.
        unit: what is counted, e.g. `images` or `steps`.
        done: work already done by an earlier, interrupted run.
        items: how many `rate_unit` one count stands for (a training step is a batch of images).
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        done: int = 0,
        items: int = 1,
        rate_unit: str = "images",
        line_seconds: float = 10.0,
    ) -> None:
        self.total, self.unit = total, unit
        self.done = self._first = done
        self.items, self.rate_unit = items, rate_unit
        self._line_seconds = line_seconds
        self._start = time.monotonic()
        self._last_line, self._last_file = self._start - line_seconds + 2.0, 0.0
        self._bars = _start_bars(total, done, unit)
        if _current:  # also where nothing is left to do
            _current.write(done=done, total=total, unit=unit)

    def update(self, count: int = 1, losses: Mapping[str, float] | None = None, **values: float) -> None:
        """Adds `count`; the terms of a training's loss and other values appear in the line, the bar and the file."""
        self.done += count
        shown = {**(losses or {}), **values}
        now = time.monotonic()
        finished = self.done >= self.total
        if finished or now - self._last_line >= self._line_seconds:
            self._last_line = now
            log.info(self._line(now, shown), extra={"bar": self._bars is not None})
        if self._bars:
            self._bars.update(self._bars.task_ids[0], completed=self.done, text=self._speed(now, shown))
            if finished:
                self._bars.stop()
        if _current and (finished or now - self._last_file >= 1.0):
            self._last_file = now
            _current.write(**self._state(now), **values, **({"losses": dict(losses)} if losses else {}))

    def _rate(self, now: float) -> float:
        """Counts a second since the start of this process."""
        return (self.done - self._first) / max(now - self._start, 1e-9)

    def _line(self, now: float, values: Mapping[str, float]) -> str:
        share = 100 * self.done / max(self.total, 1)
        return f"{self.done}/{self.total} {self.unit} ({share:.0f} %), {self._speed(now, values)}"

    def _speed(self, now: float, values: Mapping[str, float]) -> str:
        rate = self._rate(now)
        numbers = "".join(f", {name} {value:.4g}" for name, value in values.items())
        left = duration((self.total - self.done) / max(rate, 1e-9))
        return f"{rate * self.items:.1f} {self.rate_unit}/s, {left} left{numbers}"

    def _state(self, now: float) -> dict[str, Any]:
        rate = self._rate(now)
        return {
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_second": rate * self.items,
            "rate_unit": self.rate_unit,
            "eta_seconds": (self.total - self.done) / max(rate, 1e-9),
            "elapsed_seconds": now - self._start,
        }


def counter(unit: str = "images") -> Callable[[int, int], None]:
    """A callback (done, total) that shows progress."""
    shown: list[Progress] = []

    def update(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(total, unit))
        shown[0].update(done - shown[0].done)

    return update


def wants_bar() -> bool:
    """A bar is for a person at a terminal; jobs of a workflow would draw over each other."""
    return sys.stderr.isatty() and "WSSS_NO_BAR" not in os.environ


def _start_bars(total: int, done: int, unit: str) -> Bars | None:
    if not wants_bar():
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}, {task.fields[text]}"))
    bars = Bars(*columns, console=Console(stderr=True))
    bars.add_task(unit, total=total, completed=done, text="")
    bars.start()
    atexit.register(bars.stop)  # gives the cursor back after an error, too
    return bars


def _gpu_memory() -> dict[str, float]:
    """Most memory that tensors have held, if this process uses a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu_mib": torch.cuda.max_memory_allocated() / 2**20}


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min 05 s` or `2 h 07 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def rough_duration(seconds: float) -> str:
    """A time without needless seconds, e.g. `15 min`; `1 min 40 s` below two minutes."""
    return duration(seconds if seconds < 120 else 60 * round(seconds / 60)).removesuffix(" 00 s")
