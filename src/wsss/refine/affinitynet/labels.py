"""Confident labels by DenseCRFs on two background scores (Ahn & Kwak 2018, §3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wsss.localise.seeds import confident_labels, power_background, with_background
from wsss.refine.affinitynet.settings import Labels
from wsss.refine.base import crf_device
from wsss.refine.crf.dense import crf_marginal_group
from wsss.store.maps import ScoreMap


class PowerLabels:
    """Class ids where the CRFs of a low and of a high background power leave no doubt, 255 elsewhere."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, crf_device(settings.crf.backend, device)

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray]:
        low, high = (
            [torch.from_numpy(found.classes[found.scores.argmax(0)]) for found in self.refined(images, maps, alpha)]
            for alpha in (self.settings.low_alpha, self.settings.high_alpha)
        )
        return [confident_labels(*both).to(torch.uint8).numpy() for both in zip(low, high, strict=True)]

    def refined(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], alpha: float) -> list[ScoreMap]:
        """Marginals of the CRF, background first, of maps under a background of the power `alpha`."""
        scores = [torch.from_numpy(found.scores) for found in maps]
        both = [with_background(s, power_background(s, alpha)).numpy() for s in scores]
        crf = self.settings.crf
        found = crf_marginal_group(images, both, crf, crf.backend, self.device)
        return [ScoreMap(np.r_[0, m.classes], marginals) for m, marginals in zip(maps, found, strict=True)]
