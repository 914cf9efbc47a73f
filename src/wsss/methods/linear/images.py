"""Stored features of images as a linear classifier's input: averaged over positions, or all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.data.dataset import Record
from wsss.methods.pooling import pool
from wsss.runtime.memory import kept
from wsss.store.features import FeatureStore

BATCH = 64
"""Images of a training step on all positions."""
ROOM = 2**30
"""Bytes of features kept in memory for later steps."""
Numbers = np.ndarray | slice


class Images(Protocol):
    """Images at one or more scales, numbered by scale and record."""

    def of_step(self, numbers: Numbers, step: int) -> Numbers:
        """Those among `numbers` of which a training step uses the scores."""

    def scores(self, classifier: nn.Conv2d, numbers: Numbers) -> Tensor:
        """Scores (N, K) of images by a classifier (D → K)."""


class Averaged:
    """Features (N, D), averaged over positions and mirror. A step uses all images."""

    def __init__(
        self, store: FeatureStore, records: Sequence[Record], scales: Sequence[float], stage: int | str
    ) -> None:
        maps = (torch.from_numpy(store.stage(r.image_id, scale, stage)) for scale in scales for r in records)
        self.features = torch.stack([found.float().mean((0, 2, 3)) for found in maps])

    def of_step(self, numbers: Numbers, _step: int) -> Numbers:
        return numbers

    def scores(self, classifier: nn.Conv2d, numbers: Numbers) -> Tensor:
        features = self.features[numbers].to(classifier.weight.device)
        return F.linear(features, classifier.weight[..., 0, 0], classifier.bias)


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

    def of_step(self, numbers: Numbers, step: int) -> Numbers:
        chosen = np.arange(len(self.samples))[numbers]
        places = np.arange(step * BATCH, (step + 1) * BATCH)
        return np.array([chosen[_order(place // len(chosen), len(chosen))[place % len(chosen)]] for place in places])

    def scores(self, classifier: nn.Conv2d, numbers: Numbers) -> Tensor:
        chosen = np.arange(len(self.samples))[numbers]
        order, parts = [], []
        for places in self._alike(chosen):
            maps = np.stack([self._maps(chosen[place]) for place in places])  # (B, mirrors, D, h, w)
            cells = torch.from_numpy(maps).to(classifier.weight.device).float().transpose(1, 2).flatten(2)
            parts.append(pool(F.conv1d(cells, classifier.weight[..., 0], classifier.bias), self.pooling))
            order += places
        return torch.cat(parts)[np.argsort(order)]

    def _alike(self, chosen: np.ndarray) -> Iterator[list[int]]:
        """The places in `chosen` of images with equally large maps, `BATCH` at most."""
        sizes: dict[tuple[int, ...], list[int]] = {}
        for place, number in enumerate(chosen.tolist()):
            sizes.setdefault(self._maps(number).shape, []).append(place)
        for places in sizes.values():
            yield from (places[i : i + BATCH] for i in range(0, len(places), BATCH))


@lru_cache(maxsize=4)
def _order(epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([0, epoch]).permutation(count)
