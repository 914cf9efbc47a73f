"""The cell classifier's probabilities, propagated over similar cells of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.config.loading import checked_section
from wsss.data.dataset import Record
from wsss.refine.base import Models
from wsss.refine.cell_labels.settings import Settings, Training
from wsss.refine.cell_labels.training import joined_stages
from wsss.refine.propagation.spread import propagate_cells, stored_cells
from wsss.runtime.records import require_keys
from wsss.runtime.tensors import resize, sum_normalise
from wsss.store.features import FeatureStore
from wsss.store.models import read_model


class CellLabels:
    """Probabilities (1 + k, H, W) of the background and an image's classes; the activation maps are not used."""

    def __init__(self, settings: Settings, models: Models, device: torch.device) -> None:
        self.settings, self.device = settings, device
        tensors, about, _ = read_model(models.affinity, "affinity")
        given = require_keys(models.affinity, about, affinity=dict)["affinity"]
        self.training = checked_section(Training, given, f"{models.affinity}:")
        self.weight, self.bias = tensors["weight"].to(device), tensors["bias"].to(device)

    def __call__(self, images: np.ndarray, maps: Sequence[Tensor]) -> list[Tensor]:
        raise ValueError("refine_cam.method cell_labels works on stored features: set compute_features")

    def of_stored(self, store: FeatureStore, record: Record, maps: Tensor) -> Tensor:
        """Probabilities (1 + k, H, W) of one image, background first, which sum to 1 over the classes."""
        present = torch.from_numpy(np.r_[0, record.classes].astype(np.int64)).to(self.device)
        features = stored_cells(store, record.image_id, self.settings)
        cells = joined_stages(store, record.image_id, self.training).to(self.device)
        shares = F.conv2d(cells, self.weight[present], self.bias[present]).softmax(0)
        if shares.shape[1:] != features.shape[1:]:
            shares = resize(shares, tuple(features.shape[1:]), align_corners=False)
        solved = propagate_cells(features, shares, record.size[0], self.settings)
        return sum_normalise(resize(solved, record.size, align_corners=False), 0)
