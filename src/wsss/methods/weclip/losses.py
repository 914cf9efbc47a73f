"""Losses of WeCLIP (Zhang et al. 2024, eq. 9-10) and WeCLIP+."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.methods.attention_affinity import affinity_labels, affinity_loss
from wsss.methods.shared import balanced_cross_entropy
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import resize
from wsss.segmentation.token_decoder import cell_affinity

RADIUS = 8
AFFINITY_WEIGHT = 0.1
MUTUAL_WEIGHT = 0.1


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Balanced cross-entropy of logits (B, C, h, w), resized to labels (B, H, W) with 255 for ignored."""
    return balanced_cross_entropy(_at_labels(logits, labels), labels)


def pair_loss(features: Tensor, labels: Tensor) -> Tensor:
    """Affinity loss of fused features (B, D, h, w) against labels (B, H, W), for cells at most 8 apart."""
    stride = labels.shape[-1] // features.shape[-1]
    return affinity_loss(cell_affinity(features), affinity_labels(labels, stride, RADIUS))


def dice_loss(logits: Tensor, labels: Tensor, masked: bool = True, eps: float = 1e-7) -> Tensor:
    """1 − mean over all C classes of 2Σp·y / (Σ(p + y) + eps), sums over batch and pixels.

    logits: (B, C, h, w), resized to labels (B, H, W). masked: leave ignored pixels out; the published code means to
    and does not: they count as predicted area.
    """
    shares = _at_labels(logits, labels).softmax(1)
    known = labels != IGNORE
    classes = torch.arange(shares.shape[1], device=labels.device)
    target = (labels[:, None] == classes[:, None, None]).to(shares)
    if masked:
        shares = shares * known[:, None]
    over = (0, 2, 3)
    return 1 - (2 * (shares * target).sum(over) / ((shares + target).sum(over) + eps)).mean()


def weclip_loss(logits: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Segmentation and affinity loss of one tower."""
    return segmentation_loss(logits, labels) + AFFINITY_WEIGHT * pair_loss(features, labels)


def weclip_plus_loss(clip: Tensor, dino: Tensor, features: Tensor, labels: Tensor, masked: bool = True) -> Tensor:
    """Losses of both towers' logits (B, C, h, w): of their mean, of each against the other's labels, affinity, dice."""
    mean = (clip + dino) / 2
    mutual = segmentation_loss(clip, _labels_of(dino, labels)) + segmentation_loss(dino, _labels_of(clip, labels))
    single = segmentation_loss(mean, labels) + AFFINITY_WEIGHT * pair_loss(features, labels)
    return single + MUTUAL_WEIGHT * mutual + dice_loss(mean, labels, masked)


@torch.no_grad()
def confident_replaced(labels: Tensor, logits: Tensor, probability: float = 0.75) -> Tensor:
    """Labels (B, H, W), by the prediction where its probability is higher than `probability`; ignored pixels too."""
    best, found = _at_labels(logits, labels).softmax(1).max(1)
    return torch.where(best > probability, found.to(labels.dtype), labels)


def _labels_of(logits: Tensor, labels: Tensor) -> Tensor:
    return _at_labels(logits.detach(), labels).argmax(1)


def _at_labels(logits: Tensor, labels: Tensor) -> Tensor:
    return resize(logits, tuple(labels.shape[-2:]), align_corners=False)
