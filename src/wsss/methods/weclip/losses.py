"""Losses of WeCLIP (Zhang et al. 2024, eq. 9-10) and WeCLIP+."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.methods.attention_affinity import dense_pair_labels, dense_pair_loss
from wsss.methods.shared import balanced_cross_entropy
from wsss.methods.weclip.settings import Settings
from wsss.methods.weclip.towers import Decoded
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import largest, resize
from wsss.segmentation.token_decoder import cell_affinity


def loss_terms(decoded: Decoded, labels: Tensor, settings: Settings) -> dict[str, Tensor]:
    """Weighted scalar loss terms for labels (B, H, W): segmentation and affinity; with WeCLIP+ also mutual and dice."""
    terms = {
        "segmentation": resized_cross_entropy(decoded.logits, labels),
        "affinity": settings.affinity_weight * feature_pair_loss(decoded.features, labels, settings.radius),
    }
    if second := settings.second:
        terms["mutual"] = second.mutual_weight * mutual_loss(decoded.clip, decoded.second, labels)
        terms["dice"] = second.dice_weight * dice_loss(decoded.logits, labels, second.masked_dice)
    return terms


def resized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Balanced cross-entropy of logits (B, C, h, w), resized to the labels (B, H, W); 255 is ignored."""
    return balanced_cross_entropy(_at_labels(logits, labels), labels)


def feature_pair_loss(features: Tensor, labels: Tensor, radius: int) -> Tensor:
    """Affinity loss of fused features (B, D, h, w) for labels (B, H, W), over cells at most `radius` apart."""
    cells = resize(labels[:, None], tuple(features.shape[-2:]), mode="nearest")[:, 0]
    return dense_pair_loss(cell_affinity(features), dense_pair_labels(cells, 1, radius))


def mutual_loss(clip: Tensor, dino: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each tower's logits (B, C, h, w) with the other's predicted labels, at the size (H, W)."""
    return resized_cross_entropy(clip, _labels_of(dino, labels)) + resized_cross_entropy(dino, _labels_of(clip, labels))


def dice_loss(logits: Tensor, labels: Tensor, masked: bool = True, eps: float = 1e-7) -> Tensor:
    """1 − mean over all C classes of 2Σp·y / (Σ(p + y) + eps), sums over batch and pixels.

    logits: (B, C, h, w), resized to labels (B, H, W). masked: leave ignored pixels out; in the published code, which
    intends to, they count as predicted area.
    """
    shares = _at_labels(logits, labels).softmax(1)
    known = labels != IGNORE
    classes = torch.arange(shares.shape[1], device=labels.device)
    target = (labels[:, None] == classes[:, None, None]).to(shares)
    if masked:
        shares = shares * known[:, None]
    over = (0, 2, 3)
    return 1 - (2 * (shares * target).sum(over) / ((shares + target).sum(over) + eps)).mean()


@torch.no_grad()
def confident_replaced(labels: Tensor, logits: Tensor, probability: float = 0.75) -> Tensor:
    """Labels (B, H, W), replaced by the prediction where its probability exceeds `probability`, ignored pixels too."""
    best, found = _at_labels(logits, labels).softmax(1).max(1)
    return torch.where(best > probability, found.to(labels.dtype), labels)


def _labels_of(logits: Tensor, labels: Tensor) -> Tensor:
    return largest(_at_labels(logits.detach(), labels), 1)


def _at_labels(logits: Tensor, labels: Tensor) -> Tensor:
    return resize(logits, tuple(labels.shape[-2:]), align_corners=False)
