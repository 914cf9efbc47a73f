"""TensorBoard event files of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


class Board:
    """Writes scalars from the history of a training run to `folder`.

    Each process writes the files from the first step on, so that no step is duplicated after a resume, and a finished
    run has its curves too.
    """

    def __init__(self, folder: Path, every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob("events.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder))
        self._every, self._written = every, 0

    def update(self, history: Mapping[str, Sequence[float]]) -> None:
        """Adds the new steps, as means over `every` steps."""
        steps = len(history["lr"]) if history else 0
        while self._written < steps:
            end = min(self._written + self._every, steps)
            for name, values in history.items():
                tag = "learning_rate" if name == "lr" else f"loss/{name}"
                self._writer.add_scalar(tag, float(np.mean(values[self._written : end])), end)
            self._written = end
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
