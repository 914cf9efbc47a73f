"""AffinityNet's random walk as a refinement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.data.augment import to_inputs
from wsss.refine.affinitynet.network import AffinityNet, pool_with_background, upsample_scores
from wsss.refine.affinitynet.settings import Settings
from wsss.refine.base import Models
from wsss.refine.load import load_affinity
from wsss.refine.walk import walk_group, walked_pairs


class AffinityWalk:
    """Random walk of maps over the affinities of a trained AffinityNet, the background as a further class (§3.3)."""

    def __init__(self, settings: Settings, models: Models, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.model = load_affinity(models.affinity).to(device)

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        affinity = affinities(self.model, images, self.settings, self.device)
        walked = walk_cams(maps, affinity, self.model.offsets, self.model.stride, self.settings)
        return [upsample_scores(w, self.model.stride, images.shape[1:3]) for w in walked]


def affinities(model: AffinityNet, images: np.ndarray, walk: Settings, device: torch.device) -> Tensor:
    """Affinity stencils (B, O, h, w) of images (B, H, W, 3) uint8, 0 for pairs that the walk leaves out."""
    inputs = to_inputs(images, model.backbone.mean, model.backbone.std, device)
    if walk.pad:
        bottom, right = (-side % model.stride for side in inputs.shape[2:])
        inputs = F.pad(inputs, (0, right, 0, bottom))
    affinity = model(inputs)
    if not walk.inner_pairs:
        return affinity
    return affinity * walked_pairs(model.offsets, *affinity.shape[2:])


def walk_cams(
    maps: Sequence[Tensor], affinity: Tensor, offsets: Tensor, stride: int, walk: Settings
) -> Sequence[Tensor]:
    """Each image's maps (1 + k, h, w), background first, on the affinity grid after the walk from maps (k, H, W)."""
    pooled = [pool_with_background(cams, walk.alpha, stride) for cams in maps]
    return walk_group(pooled, affinity, offsets, walk.beta, walk.steps)
