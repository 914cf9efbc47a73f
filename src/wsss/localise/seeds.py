"""Conversion of activation maps to labels: background scores, thresholds, and confident labels.

Label maps are uint8: class ids with 0 = background, 255 = ignore. A tie with the background goes to the
background, a tie between classes to the first of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import box_mask


def power_background(scores: Tensor, alpha: float) -> Tensor:
    """Background (1 − max_k A_k)^α (..., H, W) of scores (..., K, H, W) in [0, 1] (PSA, eq. 2)."""
    return (1 - _highest(scores)).clamp(min=0) ** alpha


def constant_background(scores: Tensor, alpha: float) -> Tensor:
    """Background score α everywhere: (..., H, W) for scores (..., K, H, W)."""
    return torch.full_like(_highest(scores), alpha)


def background_first(scores: Tensor, background: Tensor) -> Tensor:
    """Scores (..., 1 + K, H, W), background first; background: (..., H, W)."""
    return torch.cat([background.unsqueeze(-3), scores], dim=-3)


def seed_labels(scores: Tensor, background: float | Tensor, classes: Tensor | None = None) -> Tensor:
    """Labels (..., H, W) uint8: the argmax over {background, A_k}.

    scores: (..., K, H, W), of present classes only, or 0 for absent ones; background: a threshold or (..., H, W);
    classes: (K,) class ids of the maps; None: 1..K.
    """
    if classes is None:
        classes = torch.arange(1, scores.shape[-3] + 1, device=scores.device)
    if len(classes) != scores.shape[-3]:
        raise ValueError(f"{len(classes)} class ids for {scores.shape[-3]} score maps")
    if len(classes) == 0:
        return torch.zeros_like(_highest(scores), dtype=torch.uint8)
    best, index = scores.max(dim=-3)
    ids = classes.to(scores.device, torch.uint8)[index]
    return torch.where(best > background, ids, 0)


def band_labels(scores: Tensor, background: float, low: float, high: float) -> Tensor:
    """Labels (..., H, W) with an ignored band: 0 up to `low`, 255 up to `high`, classes above (AFA, ToCo).

    scores: (..., K, H, W) of classes 1..K. background: threshold of the labels; it has an effect only above `high`.
    """
    best = _highest(scores)
    labels = seed_labels(scores, background)
    labels = torch.where(best <= high, IGNORE, labels)
    return torch.where(best <= low, 0, labels)


def present_scores(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores (B, K, H, W) with the maps of classes absent from the image labels (B, K) set to 0."""
    return scores * labels[..., None, None]


def ignore_outside(labels: Tensor, boxes: Tensor) -> Tensor:
    """Labels (B, H, W), 255 outside the image's box (B, 4): top ≤ y < bottom, left ≤ x < right."""
    return torch.where(box_mask(boxes.to(labels.device), labels.shape[-2:]), labels, IGNORE)


def confident_labels(low: Tensor, high: Tensor) -> Tensor:
    """The "la/ha" combination of two label maps (..., H, W) that supervises affinities (PSA, SEAM).

    low: labels at a low α (much background): its classes are kept, its background is uncertain (255).
    high: labels at a high α (little background): its background is kept.
    """
    labels = torch.where(low == 0, IGNORE, low)
    return torch.where(high == 0, 0, labels)


def irn_confident_labels(foreground: Tensor, background: Tensor) -> Tensor:
    """IRNet's combination of two label maps (..., H, W): confident classes, confident background, 255 elsewhere.

    foreground: labels at a high threshold (published 0.30); background: labels at a low one (published 0.05).
    """
    labels = torch.where(background == 0, 0, IGNORE).to(foreground.dtype)
    return torch.where(foreground != 0, foreground, labels)


def _highest(scores: Tensor) -> Tensor:
    """Maximum over classes (..., H, W), 0 where there is no class."""
    if scores.shape[-3] == 0:
        return scores.new_zeros(*scores.shape[:-3], *scores.shape[-2:])
    return scores.amax(dim=-3)


def confidence_labels(scores: Tensor, classes: Tensor, confidence: float) -> Tensor:
    """Labels (..., H, W) uint8: the argmax of the scores (..., L, H, W), 255 where the maximum is below `confidence`.

    classes: (L,) class ids of the scores, the background's included (CLIP-ES, §4.1).
    """
    best, index = scores.max(dim=-3)
    return torch.where(best < confidence, IGNORE, classes.to(scores.device, torch.uint8)[index])
