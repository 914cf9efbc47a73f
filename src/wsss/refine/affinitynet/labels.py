"""Confident labels by DenseCRFs on two background scores (Ahn & Kwak 2018, §3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wsss.localise.seeds import confident_labels, power_background, with_background
from wsss.refine.affinitynet.settings import Labels
from wsss.refine.base import crf_device
from wsss.refine.crf.dense import crf_score_group
from wsss.store.maps import ScoreMap


class PowerLabels:
    """Class ids where the CRFs of a low and of a high background power leave no doubt, 255 elsewhere."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, crf_device(settings.crf.backend, device)

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray]:
        alphas = self.settings.low_alpha, self.settings.high_alpha
        low, high = (self._refined(images, maps, alpha) for alpha in alphas)
        return [confident_labels(*both).to(torch.uint8).numpy() for both in zip(low, high, strict=True)]

    def _refined(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], alpha: float) -> list[torch.Tensor]:
        scores = [torch.from_numpy(found.scores) for found in maps]
        both = [with_background(s, power_background(s, alpha)).numpy() for s in scores]
        classes = [[0, *found.classes.tolist()] for found in maps]
        crf = self.settings.crf
        labels = crf_score_group(images, classes, both, crf, crf.backend, self.device)
        return [torch.from_numpy(label) for label in labels]
