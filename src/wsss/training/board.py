"""TensorBoard event files of a training: its scalars while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


class Board:
    """Writes scalars from a training's history to `folder`.

    The files are written anew by each process, from the first step on: so no step appears twice after a resume, and
    a training that is done already has its curves too.
    """

    def __init__(self, folder: Path, every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob("events.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))
        self._every, self._written = every, 0

    def update(self, history: Mapping[str, Sequence[float]]) -> None:
        """Adds what is new: means over `every` steps."""
        steps = len(history["lr"]) if history else 0
        while self._written < steps:
            end = min(self._written + self._every, steps)
            for name, values in history.items():
                tag = "learning_rate" if name == "lr" else f"loss/{name}"
                self._writer.add_scalar(tag, float(np.mean(values[self._written : end])), end)
            self._written = end
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
