"""Propagation as a refinement: a graph of an image's cells, weighted by the similarity of frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.backbones.build import classifier_backbone
from wsss.backbones.stages import wanted_stages
from wsss.config.views import CamViews
from wsss.data.dataset import Record
from wsss.localise.features import frozen
from wsss.localise.seeds import background_first, power_background
from wsss.localise.views import scaled_views
from wsss.refine.base import Models
from wsss.refine.propagation.graph import cell_centres, cell_graph
from wsss.refine.propagation.settings import Settings, Spreading, StoredStages
from wsss.refine.propagation.solve import label_propagation
from wsss.runtime.tensors import max_normalise, resize
from wsss.store.features import FeatureStore


def aligned(stages: Sequence[Tensor]) -> list[Tensor]:
    """Features (B, D, h, w) of several stages as float32, resized to the coarsest of their grids."""
    grid = min((tuple(found.shape[-2:]) for found in stages), key=lambda size: size[0] * size[1])
    return [
        found.float() if tuple(found.shape[-2:]) == grid else resize(found.float(), grid, align_corners=False)
        for found in stages
    ]


def joined(stages: Sequence[Tensor]) -> Tensor:
    """Unit features (B, D, h, w) of several stages of equal weight, on the coarsest of their grids."""
    return _unit(torch.cat([_unit(found) for found in aligned(stages)], 1))


def _unit(features: Tensor) -> Tensor:
    """Features (B, D, h, w) of unit length; `F.normalize` takes three times as long along this dimension on a CPU."""
    return features / features.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)


def stored_stages(store: FeatureStore, image_id: str, chosen: StoredStages) -> list[Tensor]:
    """Features (1, D, h_s, w_s) of an image at each stage of the settings, without the mirror image."""
    return [torch.from_numpy(found[:1]) for found in store.stages_at(image_id, chosen.scale, chosen.stages)]


def stored_cells(store: FeatureStore, image_id: str, chosen: StoredStages) -> Tensor:
    """Unit features (D, h, w) of an image's cells: the stages of the settings, joined."""
    return joined(stored_stages(store, image_id, chosen))[0]


def propagate_cells(features: Tensor, scores: Tensor, height: int, chosen: Spreading) -> Tensor:
    """Propagated scores (C, h, w) ≥ 0, float32, on the graph of one image's cells.

    features: (D, h, w) of unit length. scores: (C, h, w). height: of the image in pixels.
    """
    grid = tuple(features.shape[1:])
    nodes, centres = features.flatten(1).T.cpu().numpy(), cell_centres(grid, height / grid[0])
    weights = {"neighbours": chosen.neighbours, "power": chosen.power, "distance": chosen.distance}
    graph = cell_graph(nodes, centres, **weights)
    solved = label_propagation(graph, scores.flatten(1).T.cpu().numpy(), alpha=chosen.alpha, steps=chosen.steps)
    return torch.from_numpy(solved.T.astype(np.float32)).view(-1, *grid).to(scores.device).clamp(min=0)


def propagate_maps(features: Tensor, maps: Tensor, chosen: Spreading) -> Tensor:
    """Propagated maps (k, h, w) ≥ 0 on the grid of the features (D, h, w), from an image's maps (k, H, W)."""
    grid = tuple(features.shape[1:])
    if not len(maps):
        return maps.new_zeros(0, *grid)
    return propagate_cells(features, F.adaptive_avg_pool2d(maps, grid), maps.shape[1], chosen)


class Propagation:
    """Solves (I − αW) x = maps on the grid of the features and resizes the result to the image."""

    def __init__(self, settings: Settings, models: Models, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.backbone = None if settings.uses_features else frozen(classifier_backbone(models.classifier)[0], device)

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        features = self.features(images)
        return [self.refined(cells, cams) for cells, cams in zip(features, maps, strict=True)]

    def features(self, images: np.ndarray) -> Tensor:
        """Features (B, D, h, w) of unit length of images (B, H, W, 3) uint8."""
        backbone = self.backbone
        one = CamViews(scales=[self.settings.scale], flip=False)
        views = scaled_views(images, one, backbone.mean, backbone.std, self.device)
        return joined(wanted_stages(backbone, next(iter(views)), self.settings.stages))

    def of_stored(self, store: FeatureStore, record: Record, maps: Tensor) -> Tensor:
        """As `__call__`, for an image with stored features; those of its mirror image are not used."""
        return self.refined(stored_cells(store, record.image_id, self.settings), maps)

    def refined(self, features: Tensor, maps: Tensor) -> Tensor:
        """Maps (1 + k, H, W), background first, from one image's features (D, h, w) and maps (k, H, W)."""
        cells = propagate_maps(features, maps, self.settings)
        found = max_normalise(resize(cells, tuple(maps.shape[1:]), align_corners=False))
        return background_first(found, power_background(found, self.settings.background))
