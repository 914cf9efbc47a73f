"""Merging mask proposals with labels (SEPL) and with scores (FMA-WSSS)."""

from __future__ import annotations

from typing import Any

import numpy as np
from compare import Adapter, Arrays, Tolerance

from wsss.refine.proposals.fma import fma_merge, kept_levels
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.sepl import sepl_merge

POOLING = {"True": "relu_mean", "False": "mean", "double_norm": "stretched_mean"}


def sepl(x: Arrays, meta: dict[str, Any]) -> Arrays:
    masks = Masks.from_dense(x["masks"])
    return {f"label_{rule}": sepl_merge(x["label"], masks, rule) for rule in ("imp2", "imp", "max_iou")}


def fma(x: Arrays, meta: dict[str, Any]) -> Arrays:
    masks, found = Masks.from_dense(x["masks"], x["level"]), {}
    for name, (first, power) in meta["params"]["grid"].items():
        merged = fma_merge(x["cam"], x["fg_cls"].astype(np.int64) + 1, masks, power, POOLING[str(first)])
        found[f"seed_{name}"] = merged.label
        if name == "voc":
            found |= {"score": merged.score, "mask_class": merged.mask_class, "mask_conf": merged.confidence}
            found["order"] = merged.order
    return found | {f"kept_{round(100 * share):03d}": kept_levels(masks, share) for share in (0.3, 0.85)}


CASES: dict[str, Adapter] = {"sepl_merge": sepl, "fma_merge": fma}
TOLERANCES: dict[str, Tolerance] = {"sepl_merge": Tolerance(), "fma_merge": Tolerance(atol=3e-4)}
