"""Progress of long work: lines in logs, a bar on a terminal, and one JSON file per job for `wsss status`."""

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

from wsss.runtime.files import regular, write_atomically
from wsss.runtime.process import Terminated

log = logging.getLogger("wsss")


class JobFile:
    """The JSON file of a job's state, which `wsss status` reads; rewritten whole.

    Keys: state (running, done, stopped or failed), stage, pid, host, log, started, updated (seconds since 1970),
    before (seconds that interrupted processes spent on the job), and those of `Progress` once work is counted.
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
        """Writes the file with `values` added to those written before."""
        self.content |= {"state": state, "updated": time.time(), **_gpu_memory(), **values}
        with suppress(OSError):  # a full disk must stop the work itself, with its own message
            write_atomically(self.path, json.dumps(self.content))


def _spent(path: Path) -> float:
    """Seconds that interrupted processes have spent on a job; 0 if it is done."""
    try:
        last = json.loads(regular(path).read_text(encoding="utf-8"))
        unfinished = last["state"] != "done"
        return max(0.0, last["before"] + last["updated"] - last["started"]) if unfinished else 0.0
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0


_current: JobFile | None = None


@contextmanager
def job_file(path: Path, stage: str, log_file: Path | None) -> Iterator[float]:
    """Context in which every `Progress` also writes to `path`; at its end the file records how the job ended.

    Yields the seconds that interrupted processes spent on the job before.
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
    """Adds numbers to the current job's file, if there is one."""
    if _current:
        _current.write(**values)


class Progress:
    """Counts work; logs a line every few seconds, draws a bar on a terminal, and updates the job's file.

    Args:
        total: amount of work, in `unit`.
        unit: what is counted, e.g. `images` or `steps`.
        done: work that an interrupted process did before.
        items: `rate_unit` per count (a training step is a batch of images).
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
        if _current:  # the file has the total even if no work is left
            _current.write(done=done, total=total, unit=unit)

    def update(self, count: int = 1, losses: Mapping[str, float] | None = None, **values: float) -> None:
        """Adds `count`. losses: the terms of a training loss. Both they and `values` appear in line, bar and file."""
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
        """Counts per second since this object was made."""
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
    """Whether to draw a bar: only on a terminal, and not in a workflow's jobs, which would draw over one another."""
    return sys.stderr.isatty() and "WSSS_NO_BAR" not in os.environ


def _start_bars(total: int, done: int, unit: str) -> Bars | None:
    if not wants_bar():
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}, {task.fields[text]}"))
    bars = Bars(*columns, console=Console(stderr=True))
    bars.add_task(unit, total=total, completed=done, text="")
    bars.start()
    atexit.register(bars.stop)  # restores the cursor, also after an error
    return bars


def _gpu_memory() -> dict[str, float]:
    """Peak GPU memory of tensors in MiB, if this process uses a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {"gpu_mib": torch.cuda.max_memory_allocated() / 2**20}


def number_of(count: int, one: str, many: str) -> str:
    """A number and its noun: `1 class`, `20 classes`."""
    return f"{count} {one if count == 1 else many}"


def duration(seconds: float) -> str:
    """Seconds as `12 s`, `3 min 05 s` or `2 h 07 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def rough_duration(seconds: float) -> str:
    """A duration rounded to minutes from two minutes on, e.g. `15 min`; below that e.g. `1 min 40 s`."""
    return duration(seconds if seconds < 120 else 60 * round(seconds / 60)).removesuffix(" 00 s")
