"""Targets of the cell classifier: class activation maps, propagated over the cells of their image."""

from __future__ import annotations

import numpy as np
import torch

from wsss.data.dataset import Record
from wsss.localise.seeds import background_first, power_background
from wsss.refine.cell_labels.settings import Labels
from wsss.refine.propagation.spread import propagate_maps, stored_cells
from wsss.runtime.tensors import max_normalise
from wsss.store.features import FeatureStore
from wsss.store.maps import ScoreMap


class PropagatedMaps:
    """Maps of an image's classes and the background, on the grid of its stored features."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, device

    def of_stored(self, store: FeatureStore, record: Record, maps: ScoreMap) -> ScoreMap:
        """Maps (1 + k, h, w) in [0, 1], background first, from an image's maps (k, H, W)."""
        features = stored_cells(store, record.image_id, self.settings)
        seeds = torch.from_numpy(maps.scores).to(self.device)
        cells = max_normalise(propagate_maps(features, seeds, self.settings))
        whole = background_first(cells, power_background(cells, self.settings.background))
        return ScoreMap(np.r_[0, maps.classes], whole.cpu().numpy())
