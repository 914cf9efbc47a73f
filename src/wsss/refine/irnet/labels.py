"""Confident labels by DenseCRF on hard labels, the supervision of IRNet's affinities (Ahn 2019, §4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wsss.localise.seeds import irn_confident_labels, seed_labels
from wsss.refine.crf.dense import crf_label_group
from wsss.refine.irnet.settings import Labels
from wsss.store.maps import ScoreMap


@dataclass(frozen=True)
class ConfidentLabels:
    """Label maps (H, W) uint8, background 0.

    foreground, background: refined labels at the high and at the low threshold.
    combined: the class of `foreground`; 0 where both are background; 255 where only `foreground` is.
    """

    foreground: Tensor
    background: Tensor
    combined: Tensor


def confident_label_group(
    images: Sequence[np.ndarray], maps: Sequence[ScoreMap], settings: Labels, device: str | torch.device = "cpu"
) -> list[ConfidentLabels]:
    """Confident labels of several images of equal size: argmax at each threshold, then DenseCRF.

    images: (H, W, 3) uint8; maps: of the present classes, without background.
    """
    foreground, background = (
        [seed_labels(torch.from_numpy(found.scores), threshold).numpy() for found in maps]
        for threshold in (settings.foreground_threshold, settings.background_threshold)
    )
    counts = 2 * [len(found.classes) + 1 for found in maps]
    labels = foreground + background
    refined = crf_label_group(2 * list(images), labels, counts, settings.crf, settings.gt_prob, device)
    ids = 2 * [np.r_[0, found.classes].astype(np.uint8) for found in maps]
    labels = [torch.from_numpy(table[index]) for table, index in zip(ids, refined, strict=True)]
    half = len(images)
    pairs = zip(labels[:half], labels[half:], strict=True)
    return [ConfidentLabels(f, b, irn_confident_labels(f, b)) for f, b in pairs]


class ThresholdLabels:
    """Confident classes and confident background from two thresholds, 255 elsewhere."""

    def __init__(self, settings: Labels, device: torch.device) -> None:
        self.settings, self.device = settings, device

    def __call__(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap]) -> list[np.ndarray]:
        labels = confident_label_group(images, maps, self.settings, self.device)
        return [found.combined.numpy() for found in labels]
