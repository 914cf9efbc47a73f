"""SEAM's normalisations and loss terms (Wang 2020, sections 3.2 … 3.4) as pure functions.

Maps have C = K + 1 channels, background first; labels (B, K) are 0 or 1, without background.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.methods.seam.affine import Warp
from wsss.runtime.tensors import EPS, min_max_normalise


@dataclass(frozen=True)
class View:
    """Output of one branch at its input's size: the maps A and, with PCM, the revised maps A_rv; both (B, C, H, W)."""

    maps: Tensor
    revised: Tensor | None = None


def normalised_seed(maps: Tensor) -> Tensor:
    """Input of PCM (B, C, h, w): classes scaled to [0, 1), background = 1 − the maximum over the foreground.

    At each pixel only the largest foreground channel is kept. No gradient.
    """
    foreground = maps.detach()[:, 1:].relu()
    top = foreground.amax((2, 3), keepdim=True)
    return keep_strongest((foreground - EPS).relu() / (top + EPS))


def max_norm(maps: Tensor) -> Tensor:
    """n(·): the positive part of every map, normalised to [0, 1); (B, C, H, W)."""
    return min_max_normalise(maps.relu(), margin=EPS).relu()


def keep_strongest(foreground: Tensor) -> Tensor:
    """o(·), (B, K, h, w) → (B, C, h, w): background 1 − maximum, then the classes that attain the maximum, others 0."""
    strongest = foreground.amax(1, keepdim=True)
    return torch.cat([1 - strongest, foreground * (foreground == strongest)], dim=1)


def classification_loss(maps: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft margin loss of the averaged foreground maps; the background channel is not supervised."""
    return F.multilabel_soft_margin_loss(maps.mean((2, 3))[:, 1:], labels)


def min_pool_loss(revised: Tensor, labels: Tensor, fraction: float = 0.25) -> Tensor:
    """m(·): mean positive part of the `fraction` of pixels where the present classes score lowest.

    It lowers the revised maps where an object is least likely.
    """
    strongest = (revised[:, 1:] * labels[:, :, None, None]).amax(1).flatten(1)
    count = max(1, int(strongest.shape[1] * fraction))
    return strongest.topk(count, dim=1, largest=False).values.relu().mean()


def equivariance_loss(warped: Tensor, other: Tensor, inside: Tensor | None = None) -> Tensor:
    """L_ER: mean |A(Ã₁) − Ã₂| over the foreground channels and the pixels `inside` (h, w)."""
    return (_pixels(warped, inside)[:, 1:] - _pixels(other, inside)[:, 1:]).abs().mean()


def cross_loss(seed: Tensor, revised: Tensor, hardest: float | None = 0.2, inside: Tensor | None = None) -> Tensor:
    """One half of L_ECR: |o(Ã) − Ã_rv|, between the other branch's maps and this branch's revised maps.

    Args:
        seed: normalised maps (B, C, h, w) of the other branch; no gradient flows into them.
        hardest: OHEM, the fraction of largest errors per image that is averaged; None: all.
        inside: boolean (h, w), the pixels that are averaged; None: all.
    """
    target = keep_strongest(seed.detach()[:, 1:])
    errors = (_pixels(target, inside) - _pixels(revised, inside)).abs().flatten(1)
    if hardest is None:
        return errors.mean()
    return errors.topk(max(1, int(errors.shape[1] * hardest)), dim=1).values.mean()


def siamese_losses(
    first: View,
    second: View,
    labels: Tensor,
    warp: Warp,
    *,
    er: bool = True,
    ecr: bool = True,
    hardest: float | None = 0.2,
    min_pool: float | None = 0.25,
) -> dict[str, Tensor]:
    """The loss terms of the views x and A(x); their sum is SEAM's loss (eq. 9).

    Args:
        first, second: raw outputs for the image and for the warped image. `revised` maps add L_ECR and the min-pool
            term.
        labels: (B, K).
        warp: A, applied to the first view's normalised maps.
        er, ecr: whether to include L_ER and L_ECR.
        hardest: OHEM's fraction; None without OHEM.
        min_pool: fraction of the weakest pixels; None without that term.
    """
    views = (first, second)
    terms = {"cls": sum(classification_loss(view.maps, labels) for view in views) / 2}
    present = F.pad(labels, (1, 0), value=1.0)[:, :, None, None]
    inside = warp.inside(first.maps)
    maps = warp(max_norm(first.maps)) * present, max_norm(second.maps) * present
    if er:
        terms["er"] = equivariance_loss(*maps, inside)
    if first.revised is None or second.revised is None:
        return terms
    if min_pool is not None:
        terms["min_pool"] = sum(min_pool_loss(view.revised, labels, min_pool) for view in views) / 2
    if ecr:
        revised = warp(max_norm(first.revised)) * present, max_norm(second.revised) * present
        terms["ecr"] = cross_loss(maps[1], revised[0], hardest, inside)
        terms["ecr"] = terms["ecr"] + cross_loss(maps[0], revised[1], hardest, inside)
    return terms


def _pixels(maps: Tensor, inside: Tensor | None) -> Tensor:
    """(B, C, h, w) → (B, C, N), the pixels `inside` only."""
    return maps.flatten(2) if inside is None else maps[:, :, inside]
