"""WeCLIP's refinement module (Zhang et al. 2024, §3.3): attention of the blocks that agree with the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wsss.refine.attention import refine, sinkhorn_transition
from wsss.runtime.tensors import resize

Difference = Literal["signed", "absolute"]


@dataclass(frozen=True)
class Selection:
    """Selected blocks. score: (L,), distance of each block's attention from the affinity. kept: (L,) bool.

    matrix: (N, N), from which the transition matrix is made.
    """

    score: Tensor
    kept: Tensor
    matrix: Tensor


def select(attention: Tensor, affinity: Tensor, difference: Difference = "signed") -> Selection:
    """Mean attention of the blocks (L, N, N) no farther than average from the affinity (N, N), times the affinity.

    difference: `signed` sums affinity − attention, as the published code does; `absolute` is the paper's rule.
    """
    gaps = affinity - attention
    score = (gaps.abs() if difference == "absolute" else gaps).sum((1, 2))
    kept = score <= score.mean()
    mean = (attention * kept[:, None, None]).sum(0) / (kept.sum() + 1e-5)
    return Selection(score, kept, mean * affinity)


def refine_maps(cams: Tensor, matrix: Tensor, threshold: float | None, shares: Tensor | None = None) -> Tensor:
    """Maps (K, h, w) in [0, 1], spread from inside their boxes by a matrix (N, N) of `select`.

    threshold: of the boxes, 0.4 for VOC and 0.7 for COCO; None: no boxes (WeCLIP+ on VOC). shares: (K, h, w), class
    shares of WeCLIP+ that multiply the maps; the boxes are those of the maps before.
    """
    return refine(cams, sinkhorn_transition(matrix), threshold, shares=shares)


def decoder_shares(clip: Tensor, dino: Tensor) -> Tensor:
    """WeCLIP+'s class shares (B, C, h, w) from both towers' logits, the weights of the maps."""
    return (0.5 * dino + 0.5 * clip).softmax(1)


def joint_features(clip: Tensor, dino: Tensor) -> Tensor:
    """Both towers' fused features (B, 2D, h, w), DINO's resized to CLIP's grid."""
    if dino.shape[2:] != clip.shape[2:]:
        dino = resize(dino, tuple(clip.shape[2:]), align_corners=False)
    return torch.cat([clip, dino], dim=1)
