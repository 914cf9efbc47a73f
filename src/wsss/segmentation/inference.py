"""From the logits of several views to label maps, with a CRF or without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsss.config.sections import CRF
from wsss.refine.crf.dense import crf_score_group
from wsss.runtime.tensors import resize

NEGLIGIBLE = 0.01
"""The CRF leaves out classes that are nowhere more probable than this."""


def mean_probabilities(maps: list[Tensor], size: tuple[int, int], flip: bool) -> Tensor:
    """(B, C, H, W) mean softmax over scales and mirrors; maps: per scale (2B, C, h, w), images then mirrors."""
    total: Tensor | float = 0.0
    for logits in maps:
        shares = resize(logits.softmax(1), size, align_corners=False)
        if flip:
            images, mirrors = shares.chunk(2)
            shares = (images + mirrors.flip(-1)) / 2
        total = total + shares
    return total / len(maps)


def max_probabilities(maps: list[Tensor], size: tuple[int, int], flip: bool) -> Tensor:
    """(B, C, H, W) softmax of the largest logits over scales and mirrors (AFA); maps as above."""
    best = None
    for logits in maps:
        scores = resize(logits, size, align_corners=False)
        if flip:
            images, mirrors = scores.chunk(2)
            scores = torch.maximum(images, mirrors.flip(-1))
        best = scores if best is None else torch.maximum(best, scores)
    return best.softmax(1)


FUSION = {"mean": mean_probabilities, "max": max_probabilities}


def crf_labels(
    images: Sequence[np.ndarray], shares: Sequence[np.ndarray], crf: CRF, device: torch.device
) -> list[np.ndarray]:
    """(H, W) uint8 of each image from its softmax (C, H, W) and DenseCRF."""
    classes = [np.flatnonzero(share.max((1, 2)) > NEGLIGIBLE) for share in shares]
    chosen = [share[ids] for share, ids in zip(shares, classes, strict=True)]
    labels = crf_score_group(images, [ids.tolist() for ids in classes], chosen, crf, crf.backend, device)
    return [label.astype(np.uint8) for label in labels]
