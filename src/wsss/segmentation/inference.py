"""Label maps from class probabilities by DenseCRF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wsss.config.sections import CRF
from wsss.refine.crf.dense import crf_score_group

NEGLIGIBLE = 0.05
"""The CRF omits classes that win nowhere and exceed this probability nowhere (at 0.01, 1 of 10,000 pixels changes)."""


def crf_labels(
    images: Sequence[np.ndarray], shares: Sequence[np.ndarray], crf: CRF, device: torch.device
) -> list[np.ndarray]:
    """Labels (H, W) uint8 of each image from its class probabilities (C, H, W) by DenseCRF."""
    classes = [np.union1d(np.flatnonzero(share.max((1, 2)) > NEGLIGIBLE), share.argmax(0)) for share in shares]
    chosen = [share[ids] for share, ids in zip(shares, classes, strict=True)]
    return crf_score_group(images, [ids.tolist() for ids in classes], chosen, crf, device)
