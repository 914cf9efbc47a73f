"""IRNet's random walk as a refinement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsss.data.augment import to_inputs
from wsss.refine.base import Models
from wsss.refine.irnet.network import relative_scores, walk_to_boundary
from wsss.refine.irnet.settings import Settings
from wsss.refine.load import load_affinity
from wsss.runtime.tensors import max_normalise, resize


class BoundaryWalk:
    """Random walk of maps that stops at the boundaries of a trained IRNet (Ahn 2019, §5)."""

    def __init__(self, settings: Settings, models: Models, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.model = load_affinity(models.affinity).to(device)

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        model, walk = self.model, self.settings
        boundary, _ = model.infer(to_inputs(images, model.backbone.mean, model.backbone.std, self.device))
        if walk.start == "full":
            maps = [max_normalise(resize(cams, tuple(boundary.shape[1:]), align_corners=False)) for cams in maps]
        walked = walk_to_boundary(maps, boundary, walk.radius, walk.beta, walk.steps)
        return [relative_scores(w, model.stride, images.shape[1:3], walk.threshold) for w in walked]
