"""Confident labels by DenseCRF on hard labels, the supervision of IRNet's affinities (Ahn 2019, §4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss.refine.crf import CRFParams, crf_labels

IGNORE = 255
IRN_CRF = CRFParams(
    gaussian_sxy=3, gaussian_weight=3, bilateral_sxy=50, bilateral_srgb=5, bilateral_weight=10, steps=10
)


@dataclass(frozen=True)
class ConfidentLabels:
    """Class ids (H, W) uint8, background 0.

    foreground, background: refined labels of the high and of the low threshold.
    combined: the foreground's class; 0 where both say background; 255 where only `foreground` does.
    """

    foreground: NDArray[np.uint8]
    background: NDArray[np.uint8]
    combined: NDArray[np.uint8]


def irn_confident_labels(
    image: NDArray[np.uint8],
    cams: NDArray[np.floating],
    classes: NDArray[np.integer],
    foreground_threshold: float = 0.30,
    background_threshold: float = 0.05,
    params: CRFParams = IRN_CRF,
    gt_prob: float = 0.7,
    backend: str = "auto",
) -> ConfidentLabels:
    """Labels to trust, from the CAMs (k, H, W) in 0..1 of the classes (k,) that are present (ids from 1)."""

    def refined(threshold: float) -> NDArray[np.uint8]:
        label = hard_labels(cams, threshold)
        index = crf_labels(image, label, len(cams) + 1, params, gt_prob, backend=backend)
        return np.pad(classes, (1, 0))[index].astype(np.uint8)

    foreground, background = refined(foreground_threshold), refined(background_threshold)
    unsure = np.where(background == 0, 0, IGNORE)
    combined = np.where(foreground > 0, foreground, unsure).astype(np.uint8)
    return ConfidentLabels(foreground, background, combined)


def hard_labels(cams: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Argmax (H, W) over {threshold, cams (k, H, W)}: 0 is background, i + 1 is cams[i]; ties are background."""
    return np.concatenate([np.full_like(cams[:1], threshold), cams]).argmax(0)
