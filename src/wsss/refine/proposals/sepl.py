"""SEPL (Chen et al. 2023): proposals that lie mostly in a class of the label join it, whole."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsss.refine.proposals.masks import Masks
from wsss.runtime.labels import IGNORE

Rule = Literal["imp2", "imp", "max_iou"]
MASK_SHARE, CLASS_SHARE = 0.5, 0.85


def sepl_merge(label: NDArray[np.uint8], masks: Masks, rule: Rule = "imp2") -> NDArray[np.uint8]:
    """Labels (H, W) made of whole proposals; pixels that none of them takes become background, ignored ones too.

    Classes in ascending order. P: a class's pixels in `label`; M: a proposal that no class before has taken. M joins
    if more than half of it lies in P; by `imp2` also if it holds at least 85 % of P. `imp` and `imp2` keep what of P
    lies in no such M at all; `max_iou` does not. Later classes overwrite.
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
