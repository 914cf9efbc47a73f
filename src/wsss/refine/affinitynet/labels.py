"""Confident labels by DenseCRFs on two background scores (Ahn & Kwak 2018, §3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsss.data.dataset import Record
from wsss.localise.seeds import background_first, confident_labels, power_background
from wsss.refine.affinitynet.network import pool_confident_labels
from wsss.refine.affinitynet.settings import Labels
from wsss.refine.crf.dense import crf_marginal_group
from wsss.store.maps import ScoreMap, open_scores


def stacked(low: ScoreMap, high: ScoreMap) -> ScoreMap:
    """Maps (1 + k, 2·H, W) of the same classes: those of the low power stacked above those of the high one."""
    return ScoreMap(low.classes, np.concatenate([low.scores, high.scores], 1))


class StoredScores:
    """Reads the maps that `stacked` wrote as layers of all C classes: uint8 (2·C, H, W), low power first."""

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self.store, self.count = open_scores(path, class_names), len(class_names)

    def __call__(self, record: Record) -> np.ndarray:
        found = self.store[record.image_id]
        height = found.scores.shape[1] // 2
        layers = np.zeros((2, self.count, height, found.scores.shape[2]), np.uint8)
        layers[:, found.classes] = np.rint(255 * np.stack(np.split(found.scores, 2, 1)))
        return layers.reshape(-1, *layers.shape[2:])


def pooled_scores(layers: Tensor, stride: int) -> Tensor:
    """Labels (h, w) int64 of a crop (2·C, H, W) of `StoredScores`; 255 where uncertain, or without any score."""
    low, high = (layers.float() / 255).chunk(2)
    return pool_confident_labels(low, high, stride).long()


class PowerLabels:
    """Confident labels: class ids where the CRFs of a low and a high background power agree on it, else 255."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, device

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray] | list[ScoreMap]:
        refined = [self.refined(images, maps, a) for a in (self.settings.low_alpha, self.settings.high_alpha)]
        if self.settings.scores:
            return [stacked(*both) for both in zip(*refined, strict=True)]
        low, high = ([torch.from_numpy(m.classes[m.scores.argmax(0)]) for m in found] for found in refined)
        return [confident_labels(*both).to(torch.uint8).numpy() for both in zip(low, high, strict=True)]

    def refined(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], alpha: float) -> list[ScoreMap]:
        """Marginals of the CRF, background first, for maps with the background (1 − max)^alpha."""
        scores = [torch.from_numpy(found.scores) for found in maps]
        both = [background_first(s, power_background(s, alpha)).numpy() for s in scores]
        found = crf_marginal_group(images, both, self.settings.crf, self.device)
        return [ScoreMap(np.r_[0, m.classes], marginals) for m, marginals in zip(maps, found, strict=True)]
