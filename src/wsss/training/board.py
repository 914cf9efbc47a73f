"""TensorBoard event files of a training: its scalars while it runs, sample activation maps when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from wsss.data.dataset import Record, read_image
from wsss.localise.base import Localises
from wsss.localise.inference import cam_group

SAMPLES = 4


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


def write_sample_cams(folder: Path, model: Localises, records: Sequence[Record], class_names: Sequence[str]) -> None:
    """Adds activation maps of the first images at scale 1: the image, and for each present class its map as heat."""
    from matplotlib import colormaps
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for record in records[:SAMPLES]:
            image = read_image(record.image)
            (cams,) = cam_group(model, image[None], torch.from_numpy(record.labels)[None], [1.0], flip=True)
            grey = image.mean(2, keepdims=True) / 255
            heat = [0.4 * grey + 0.6 * colormaps["viridis"](cam)[..., :3] for cam in cams.cpu().numpy()]
            names = ", ".join(class_names[id] for id in record.classes)
            picture = np.concatenate([image / 255, *heat], axis=1)
            writer.add_image(f"cam/{record.image_id} ({names})", picture, dataformats="HWC")
