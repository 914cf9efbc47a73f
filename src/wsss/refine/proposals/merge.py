"""Merging of proposals into labels, by the configured rule."""

from __future__ import annotations

import numpy as np

from wsss.config.sections import Proposals
from wsss.refine.proposals.fma import fma_merge, kept_levels
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.sepl import sepl_merge
from wsss.store.maps import ScoreMap


def merged(label: np.ndarray, maps: ScoreMap, masks: Masks | None, settings: Proposals) -> np.ndarray:
    """Labels (H, W) uint8 after merging; `label` unchanged if masks is None.

    label: (H, W) uint8 before merging. maps: its score maps (k, H, W); a background map among them is not used.
    """
    if masks is None:
        return label
    if settings.largest_cover is not None:
        masks = masks.only(kept_levels(masks, settings.largest_cover))
    if settings.merge == "sepl":
        return sepl_merge(label, masks, settings.rule)
    present = np.asarray(maps.classes) > 0
    return fma_merge(
        maps.scores[present], np.asarray(maps.classes)[present], masks, settings.power, settings.pooling
    ).label
