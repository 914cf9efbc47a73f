"""Confident labels by DenseCRF on hard labels, the supervision of IRNet's affinities (Ahn 2019, §4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.config.sections import CRF
from wsss.localise.seeds import irn_confident_labels, seed_labels
from wsss.refine.base import crf_device
from wsss.refine.crf.dense import crf_label_group, crf_labels
from wsss.refine.irnet.settings import Labels
from wsss.store.maps import ScoreMap

LABEL_CRF = CRF(gaussian_sxy=3, gaussian_weight=3, bilateral_sxy=50, bilateral_srgb=5, bilateral_weight=10, steps=10)
"""What IRN, AFA and ToCo refine labels with."""


@dataclass(frozen=True)
class ConfidentLabels:
    """Class ids (H, W) uint8, background 0.

    foreground, background: refined labels of the high and of the low threshold.
    combined: the foreground's class; 0 where both say background; 255 where only `foreground` does.
    """

    foreground: Tensor
    background: Tensor
    combined: Tensor


def refined_seed(
    image: Tensor,
    scores: Tensor,
    classes: Tensor,
    threshold: float,
    params: CRF = LABEL_CRF,
    gt_prob: float = 0.7,
    backend: str = "auto",
) -> Tensor:
    """Class ids (H, W) uint8: scores (k, H, W) against a background threshold, argmax, DenseCRF.

    image: (H, W, 3) uint8, on the CPU as all the rest. classes: (k,) ids, from 1, of the present classes.
    """
    index = seed_labels(scores, threshold).numpy()
    index = crf_labels(image.numpy(), index, len(scores) + 1, params, gt_prob, backend=backend)
    return F.pad(classes.to(torch.uint8), (1, 0))[torch.from_numpy(index).long()]


def refined_confident_labels(
    image: Tensor,
    scores: Tensor,
    classes: Tensor,
    foreground_threshold: float = 0.30,
    background_threshold: float = 0.05,
    params: CRF = LABEL_CRF,
    gt_prob: float = 0.7,
    backend: str = "auto",
) -> ConfidentLabels:
    """Labels to trust, from the scores of the present classes; arguments as of `refined_seed`."""
    foreground, background = (
        refined_seed(image, scores, classes, threshold, params, gt_prob, backend)
        for threshold in (foreground_threshold, background_threshold)
    )
    return ConfidentLabels(foreground, background, irn_confident_labels(foreground, background))


def confident_label_group(
    images: Sequence[np.ndarray],
    maps: Sequence[ScoreMap],
    foreground_threshold: float = 0.30,
    background_threshold: float = 0.05,
    params: CRF = LABEL_CRF,
    gt_prob: float = 0.7,
    backend: str = "auto",
    device: str | torch.device = "cpu",
) -> list[np.ndarray]:
    """`refined_confident_labels(...).combined` of several images of one size, computed together.

    images: (H, W, 3) uint8; maps: of the present classes, without background.
    """
    foreground, background = (
        [seed_labels(torch.from_numpy(found.scores), threshold).numpy() for found in maps]
        for threshold in (foreground_threshold, background_threshold)
    )
    counts = 2 * [len(found.classes) + 1 for found in maps]
    refined = crf_label_group(2 * list(images), foreground + background, counts, params, gt_prob, backend, device)
    ids = 2 * [np.r_[0, found.classes].astype(np.uint8) for found in maps]
    labels = [torch.from_numpy(table[index]) for table, index in zip(ids, refined, strict=True)]
    half = len(images)
    return [irn_confident_labels(f, b).numpy() for f, b in zip(labels[:half], labels[half:], strict=True)]


class ThresholdLabels:
    """Reliable classes and reliable background of two thresholds, 255 between."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, crf_device(settings.crf.backend, device)

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray]:
        chosen = self.settings
        thresholds = chosen.foreground_threshold, chosen.background_threshold
        crf = chosen.crf, chosen.gt_prob, chosen.crf.backend
        return confident_label_group(images, maps, *thresholds, *crf, self.device)
