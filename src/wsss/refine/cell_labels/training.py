"""Training of the cell classifier; the targets of an image's cells are its own classes and the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.data.dataset import Record
from wsss.refine.cell_labels.settings import Training
from wsss.refine.propagation.spread import aligned, stored_stages
from wsss.store.features import FeatureStore
from wsss.store.maps import ScoreMap, open_scores
from wsss.training.optim import minimise


class CellTraining:
    """Trains a linear classifier on stored features and on maps on their grid."""

    def __init__(self, settings: Training) -> None:
        self.settings = settings

    def fit(
        self,
        store: FeatureStore,
        labels: Path,
        records: Sequence[Record],
        class_names: Sequence[str],
        device: torch.device,
    ) -> tuple[nn.Module, list[float]]:
        """The classifier, a 1×1 convolution on the stages' features, and the loss of every step.

        labels: file of the maps of `PropagatedMaps`. The choice and order of cells depend on the random seed alone.
        """
        rng = np.random.default_rng(self.settings.rng_seed)
        share = max(1, min(self.settings.cells, self.settings.samples // max(1, len(records))))
        with open_scores(labels, class_names) as maps:
            drawn = [self._draw(store, r.image_id, maps[r.image_id], len(class_names), share, rng) for r in records]
        cells, targets = (torch.cat(parts).to(device) for parts in zip(*drawn, strict=True))
        order = torch.from_numpy(rng.permutation(len(cells))).to(device)
        cells, targets = cells[order], targets[order]
        std, mean = torch.std_mean(cells, dim=0)
        std = std.clamp(min=1e-3)
        cells.sub_(mean).div_(std)
        linear = nn.Linear(cells.shape[1], len(class_names)).to(device)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        losses = self._learn(linear, cells, targets)
        network = nn.Conv2d(cells.shape[1], len(class_names), 1)
        with torch.no_grad():
            weight = linear.weight / std
            network.weight.copy_(weight[..., None, None])
            network.bias.copy_(linear.bias - weight @ mean)
        return network, losses

    def _draw(
        self, store: FeatureStore, image_id: str, found: ScoreMap, count: int, share: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Features (n, D) and target shares (n, C) of sampled cells of an image."""
        features = joined_stages(store, image_id, self.settings)
        taught = torch.from_numpy(found.scores)
        if taught.shape[1:] != features.shape[1:]:
            raise ValueError(
                f"{image_id}: taught on {tuple(taught.shape[1:])} cells, features have {tuple(features.shape[1:])}; "
                "stages and scale of make_affinity_labels and train_affinity must be the same"
            )
        total = features[0].numel()
        chosen = torch.from_numpy(rng.choice(total, min(share, total), replace=False))
        shares = F.normalize(taught.flatten(1)[:, chosen], p=1, dim=0) ** self.settings.sharpness
        targets = torch.zeros(len(chosen), count)
        targets[:, torch.from_numpy(found.classes.astype(np.int64))] = F.normalize(shares, p=1, dim=0).T
        return features.flatten(1)[:, chosen].T.contiguous(), targets

    def _learn(self, linear: nn.Linear, cells: Tensor, targets: Tensor) -> list[float]:
        """Trains on the cells, batch by batch; returns the loss of every step."""
        chosen = self.settings
        pairs = list(zip(cells.split(chosen.batch_size), targets.split(chosen.batch_size), strict=True))

        def loss(step: int) -> Tensor:
            batch, shares = pairs[step % len(pairs)]
            return -(shares * linear(batch).log_softmax(1)).sum(1).mean()

        return minimise(linear, loss, steps=chosen.steps, lr=chosen.lr, weight_decay=chosen.weight_decay)


def joined_stages(store: FeatureStore, image_id: str, chosen: Training) -> Tensor:
    """Features (D, h, w) of an image's cells, the stages concatenated."""
    return torch.cat(aligned(stored_stages(store, image_id, chosen)), 1)[0]
