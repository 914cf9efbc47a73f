"""SEPL (Chen et al. 2023): a proposal that lies mostly within a class of the label is added to it as a whole."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsss.refine.proposals.masks import Masks
from wsss.runtime.labels import IGNORE

Rule = Literal["imp2", "imp", "max_iou"]
MASK_SHARE, CLASS_SHARE = 0.5, 0.85


def sepl_merge(label: NDArray[np.uint8], masks: Masks, rule: Rule = "imp2") -> NDArray[np.uint8]:
    """Labels (H, W) composed of whole proposals; all other pixels, ignored ones included, become background.

    For each class in ascending order, let P be its pixels in `label`, and M a proposal that no earlier class has taken.
    M is added if more than half of it is in P; with `imp2` also if it contains at least 85 % of P. `imp` and `imp2`
    keep the pixels of P outside all such M; `max_iou` does not. Later classes overwrite earlier ones.
    """
    classes = [int(c) for c in np.unique(label) if c not in (0, IGNORE)]
    if not classes:
        return np.zeros_like(label)
    regions = label[None] == np.array(classes, np.uint8)[:, None, None]
    shared = masks.sums(regions)  # (S, K)
    areas, sizes = masks.areas, regions.sum((1, 2))
    pixels, owner = masks.pixels()
    free = np.ones(masks.count, bool)
    merged = np.zeros(label.size, np.uint8)
    for k, kind in enumerate(classes):
        joins = free & (shared[:, k] > MASK_SHARE * areas)
        if rule == "imp2":
            joins |= free & (shared[:, k] / sizes[k] >= CLASS_SHARE)
        if rule != "max_iou":
            open_pixels = regions[k].T.reshape(-1).copy()
            open_pixels[pixels[free[owner]]] = False
            merged[open_pixels] = kind
        merged[pixels[joins[owner]]] = kind
        free &= ~joins
    return np.ascontiguousarray(merged.reshape(label.shape[::-1]).T)
