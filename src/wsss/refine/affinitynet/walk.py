"""AffinityNet's random walk as a refinement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsss.data.augment import to_inputs
from wsss.refine.affinitynet.network import propagate_cam_group
from wsss.refine.affinitynet.settings import Settings
from wsss.refine.base import Models
from wsss.refine.load import load_affinity


class AffinityWalk:
    """Maps walk over the affinities of a trained AffinityNet, the background as a class of its own (§3.3)."""

    def __init__(self, settings: Settings, models: Models, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.model = load_affinity(models.affinity).to(device)

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        model, walk = self.model, self.settings
        inputs = to_inputs(images, model.backbone.mean, model.backbone.std, self.device)
        affinity = model(inputs)
        return propagate_cam_group(
            maps, affinity, model.offsets, model.stride, alpha=walk.alpha, beta=walk.beta, steps=walk.steps
        )
