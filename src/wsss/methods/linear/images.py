"""Stored features of images as a linear classifier's input: averaged over positions, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.data.dataset import Record
from wsss.methods.pooling import pool
from wsss.runtime.memory import kept
from wsss.runtime.seeds import drawn
from wsss.store.features import FeatureStore

BATCH = 64
"""Images of a training step on all positions."""
ROOM = 2**30
"""Bytes of features kept in memory for later steps."""
Numbers = np.ndarray | slice
ALL = slice(None)


class Images(Protocol):
    """Images at one or more scales, numbered by scale and record."""

    def of_step(self, step: int) -> Numbers:
        """The images that a training step uses."""

    def scores(self, classifier: nn.Conv2d, numbers: Numbers = ALL) -> Tensor:
        """Scores (N, K) of images by a classifier (D → K)."""


class Averaged:
    """Features (N, D), averaged over positions and mirror. A step uses all images."""

    def __init__(
        self,
        store: FeatureStore,
        records: Sequence[Record],
        scales: Sequence[float],
        stage: int | str,
        device: torch.device,
    ) -> None:
        maps = (torch.from_numpy(store.stage(r.image_id, scale, stage)) for scale in scales for r in records)
        self.features = torch.stack([found.float().mean((0, 2, 3)) for found in maps]).to(device)

    def of_step(self, _step: int) -> Numbers:
        return ALL

    def scores(self, classifier: nn.Conv2d, numbers: Numbers = ALL) -> Tensor:
        return F.linear(self.features[numbers], classifier.weight[..., 0, 0], classifier.bias)


class Positions:
    """Features of every position, of which each class's scores are pooled. A step uses `BATCH` images, in random order.

    The order depends on the images' number alone.
    """

    def __init__(
        self, store: FeatureStore, records: Sequence[Record], scales: Sequence[float], stage: int | str, pooling: str
    ) -> None:
        self.samples = [(record.image_id, scale) for scale in scales for record in records]
        self.pooling = pooling
        self._maps = kept(lambda n: store.stage(*self.samples[n], stage).copy(), ROOM, lambda found: found.nbytes)

    def of_step(self, step: int) -> Numbers:
        return np.array([drawn(n, len(self.samples), 0) for n in range(step * BATCH, (step + 1) * BATCH)])

    def scores(self, classifier: nn.Conv2d, numbers: Numbers = ALL) -> Tensor:
        chosen = np.arange(len(self.samples))[numbers]
        parts = (chosen[i : i + BATCH] for i in range(0, len(chosen), BATCH))
        return torch.cat([self._scores(classifier, part.tolist()) for part in parts])

    def _scores(self, classifier: nn.Conv2d, numbers: list[int]) -> Tensor:
        """Scores of a batch; images with equally large maps are computed together."""
        sizes: dict[tuple[int, ...], dict[int, np.ndarray]] = {}
        for place, number in enumerate(numbers):
            found = self._maps(number)  # (mirrors, D, h, w)
            sizes.setdefault(found.shape, {})[place] = found
        order, parts = [], []
        for alike in sizes.values():
            maps = torch.from_numpy(np.stack([*alike.values()])).to(classifier.weight.device)
            cells = maps.float().transpose(1, 2).flatten(2)
            parts.append(pool(F.conv1d(cells, classifier.weight[..., 0], classifier.bias), self.pooling))
            order += alike
        return torch.cat(parts)[np.argsort(order)]
