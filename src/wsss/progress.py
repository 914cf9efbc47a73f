"""Progress of long work: readable lines for people, one JSON file for programs."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("wsss")


class Progress:
    """Counts work done; logs a line every few seconds and keeps `path` up to date.

    Args:
        total: how much work there is, in `unit`.
        unit: what is counted, e.g. `images` or `steps`.
        path: JSON file rewritten (atomically) at most once a second; None writes none.
        done: work already done by an earlier, interrupted run.
        items: how many `rate_unit` one count stands for (a training step is a batch of images).
    """

    def __init__(
        self,
        total: int,
        unit: str,
        path: Path | None = None,
        *,
        done: int = 0,
        items: int = 1,
        rate_unit: str = "images",
        line_seconds: float = 10.0,
    ) -> None:
        self.total, self.unit, self.path = total, unit, path
        self.done = self._first = done
        self.items, self.rate_unit = items, rate_unit
        self._line_seconds = line_seconds
        self._start = time.monotonic()
        self._last_line, self._last_file = self._start - line_seconds + 2.0, 0.0
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)

    def update(self, count: int = 1, **values: float) -> None:
        """Adds `count`; `values` (a loss, a learning rate) appear in the line and the file."""
        self.done += count
        now = time.monotonic()
        finished = self.done >= self.total
        if finished or now - self._last_line >= self._line_seconds:
            self._last_line = now
            log.info(self._line(now, values))
        if self.path and (finished or now - self._last_file >= 1.0):
            self._last_file = now
            self._write(now, values)

    def _rate(self, now: float) -> float:
        """Counts a second since the start of this process."""
        return (self.done - self._first) / max(now - self._start, 1e-9)

    def _line(self, now: float, values: Mapping[str, float]) -> str:
        rate = self._rate(now)
        numbers = "".join(f", {name} {value:.4g}" for name, value in values.items())
        return (
            f"{self.done}/{self.total} {self.unit} ({100 * self.done / max(self.total, 1):.0f} %), "
            f"{rate * self.items:.1f} {self.rate_unit}/s, {_duration((self.total - self.done) / max(rate, 1e-9))}"
            f" left{numbers}"
        )

    def _write(self, now: float, values: Mapping[str, float]) -> None:
        rate = self._rate(now)
        state = {
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_second": rate * self.items,
            "rate_unit": self.rate_unit,
            "eta_seconds": (self.total - self.done) / max(rate, 1e-9),
            "elapsed_seconds": now - self._start,
            "updated": time.time(),
            "pid": os.getpid(),
            **values,
        }
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(state))
        temporary.replace(self.path)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
