"""FMA-WSSS (Yang & Gong 2024): every proposal takes the class of highest mean score; confident ones are on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsss.refine.proposals.masks import Masks

EPS = 1e-7
Pooling = Literal["relu_mean", "mean", "stretched_mean"]


@dataclass(frozen=True)
class FMA:
    """Result of the merge. label: (H, W) uint8. score: (S, P+1), background first. mask_class, confidence: (S,).

    order: (S,), in which the proposals are painted.
    """

    label: NDArray[np.uint8]
    score: NDArray[np.float32]
    mask_class: NDArray[np.int64]
    confidence: NDArray[np.float32]
    order: NDArray[np.int64]


def fma_merge(
    scores: NDArray, classes: NDArray[np.integer], masks: Masks, power: float = 0.6, pooling: Pooling = "relu_mean"
) -> FMA:
    """Labels composed of whole proposals, from class scores.

    A proposal's score for a class is its mean over the proposal, min-max normalised to [0, 1] over the image's
    proposals; background is (1 − max)^power. Proposals are painted in ascending order of (level, confidence). All
    other pixels are background, and so is an image with a single proposal.

    Args:
        scores: (P, H, W) of the present classes; classes: (P,) their ids, 1 …
        power: 0.6 for VOC, 0.7 for scores of the segmentation network, 0.3 to 1 for COCO.
        pooling: `relu_mean` as published; `mean`: ReLU after the mean; `stretched_mean`: of maps normalised to [0, 1].
    """
    if masks.count == 0 or len(classes) == 0:
        return _nothing(masks, len(classes))
    foreground = stretched(np.maximum(pooled(scores, masks, pooling), 0))
    background = (1 - foreground.max(1, keepdims=True)) ** np.float32(power)
    score = np.concatenate([background, foreground], axis=1)
    found = np.concatenate([[0], np.asarray(classes, np.int64)])[score.argmax(1)]
    confidence = score.max(1)
    order = np.lexsort((confidence, masks.level))
    return FMA(masks.paint(found.astype(np.uint8), order), score, found, confidence, order)


def pooled(scores: NDArray, masks: Masks, pooling: Pooling) -> NDArray[np.float32]:
    """(S, P): the mean of every class's map over every proposal, by one sparse product."""
    maps = scores if pooling == "mean" else np.maximum(scores, 0)
    if pooling == "stretched_mean":
        low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
        maps = (maps - low) / (high - low + EPS)
    return (masks.sums(maps) / np.maximum(masks.areas, 1)[:, None]).astype(np.float32)


def stretched(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, P): each column as (x − min) / (max − min + 1e-7)."""
    low, high = values.min(0), values.max(0)
    return (values - low) / (high - low + np.float32(EPS))


def kept_levels(masks: Masks, threshold: float = 0.3) -> NDArray[np.int64]:
    """Indices of the proposals that no kept proposal of a higher level covers, from wholes to sub-parts.

    A proposal is kept if the share of it inside any kept proposal of a higher level is below `threshold`.
    """
    share = masks.overlaps() / np.maximum(masks.areas, 1)[:, None]
    kept: list[int] = []
    for level in sorted(set(masks.level.tolist()), reverse=True):
        members = np.flatnonzero(masks.level == level)
        covered = share[np.ix_(members, kept)].max(1, initial=0)
        kept += members[covered < threshold].tolist()
    return np.array(kept, np.int64)


def _nothing(masks: Masks, count: int) -> FMA:
    """The result without proposals or classes: background everywhere."""
    score = np.tile(np.eye(1, count + 1, dtype=np.float32), (masks.count, 1))
    zeros = np.zeros(masks.count, np.int64)
    return FMA(np.zeros(masks.size, np.uint8), score, zeros, score.max(1, initial=0), np.arange(masks.count))
