"""Pixel-adaptive refinement of masks: PAR (Ru 2022, AFA eq. 7-9) and PAMR (Araslanov & Roth 2020, eq. 3-4).

In each of ten iterations a pixel of a mask becomes the weighted mean of its neighbours at several dilations;
neighbours of similar colour have larger weights. Neighbours are shifted views of one padded tensor, so that no tensor
is copied 48 times; the weights (B, 48, H, W) are the largest tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.runtime.tensors import resize

DILATIONS = (1, 2, 4, 8, 12, 24)
EPSILON = 1e-8


def par(
    images: Tensor,
    masks: Tensor,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
    sharpness: float = 0.3,
    position_weight: float = 0.01,
) -> Tensor:
    """Masks (B, C, H, W) refined to follow `images` (B, 3, H, W).

    images: any range, since differences are divided by their local deviation (σ + 1e-8); papers use 0..255 or
    0..1. masks: (B, C, h, w), resized to the images (bilinear, align_corners=True). The weights of a pixel
    sum to 1 + position_weight, so that masks grow by that factor in every iteration. Images receive no gradient.

    Raises:
        ValueError: the batches differ, or the dilations are not positive.
    """
    _check(images, masks, dilations)
    weights = _softmax_(_par_logits(images.float(), dilations, sharpness))
    position = _position_weights(dilations, sharpness).to(weights)
    weights += position_weight * position[:, None, None]
    return _propagate(masks, weights, dilations, iterations)


def pamr(images: Tensor, masks: Tensor, dilations: Sequence[int] = DILATIONS, iterations: int = 10) -> Tensor:
    """PAMR: as `par`, with the deviation over 3×3 neighbourhoods, centre included, and weights that sum to 1."""
    _check(images, masks, dilations)
    weights = _softmax_(_pamr_logits(images.float(), dilations))
    return _propagate(masks, weights, dilations, iterations)


def _check(images: Tensor, masks: Tensor, dilations: Sequence[int]) -> None:
    if images.ndim != 4 or masks.ndim != 4 or len(images) != len(masks):
        given = f"images {tuple(images.shape)} and masks {tuple(masks.shape)}"
        raise ValueError(f"{given} given; accepted: (B, 3, H, W) and (B, C, h, w) of one batch")
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations {tuple(dilations)} given; accepted: one or more positive integers")


def _offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """(dy, dx) of the 8 neighbours at each dilation, n = 8·len(dilations) in all."""
    ring = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    return [(d * y, d * x) for d in dilations for y, x in ring]


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Each neighbour's values (B, C, H, W), as views; beyond the border, the border's values."""
    height, width = maps.shape[-2:]
    pad = max(dilations)
    padded = F.pad(maps, (pad, pad, pad, pad), mode="replicate")
    for dy, dx in _offsets(dilations):
        yield padded[..., pad + dy : pad + dy + height, pad + dx : pad + dx + width]


def _deviation(images: Tensor, dilations: Sequence[int], centres: int) -> Tensor:
    """Unbiased σ (B, 3, H, W) over all neighbours and the centre counted `centres` times."""
    # In two passes: a one-pass sum of squares would suffer cancellation where an image is flat.
    count = 8 * len(dilations) + centres
    mean = centres * images
    for neighbour in _neighbours(images, dilations):
        mean += neighbour
    mean /= count
    variance = centres * (images - mean).square()
    for neighbour in _neighbours(images, dilations):
        difference = neighbour - mean
        variance.addcmul_(difference, difference)
    return (variance / (count - 1)).sqrt()


@torch.no_grad()
def _par_logits(images: Tensor, dilations: Sequence[int], sharpness: float) -> Tensor:
    """−((|ΔI|/σ)/sharpness)², mean over channels: (B, n, H, W)."""
    scale = 1 / (sharpness * (_deviation(images, dilations, centres=0) + EPSILON))
    logits = images.new_empty(len(images), 8 * len(dilations), *images.shape[-2:])
    for i, neighbour in enumerate(_neighbours(images, dilations)):
        torch.mean(((neighbour - images) * scale).square_(), dim=1, out=logits[:, i])
    return logits.neg_()


@torch.no_grad()
def _pamr_logits(images: Tensor, dilations: Sequence[int]) -> Tensor:
    """−|ΔI|/(0.1 σ), mean over channels: (B, n, H, W)."""
    scale = 1 / (0.1 * _deviation(images, dilations, centres=len(dilations)) + EPSILON)
    logits = images.new_empty(len(images), 8 * len(dilations), *images.shape[-2:])
    for i, neighbour in enumerate(_neighbours(images, dilations)):
        torch.mean(((neighbour - images).abs_()).mul_(scale), dim=1, out=logits[:, i])
    return logits.neg_()


def _position_weights(dilations: Sequence[int], sharpness: float) -> Tensor:
    """Softmax over the neighbours (n,) of −((d/σ_d)/sharpness)², d the distance in pixels."""
    distance = torch.tensor([math.hypot(*offset) for offset in _offsets(dilations)])
    return (-(distance / (distance.std() + EPSILON) / sharpness).square()).softmax(0)


def _softmax_(logits: Tensor) -> Tensor:
    """Softmax over dimension 1, in place to save memory."""
    logits.sub_(logits.amax(1, keepdim=True)).exp_()
    return logits.div_(logits.sum(1, keepdim=True))


def _propagate(masks: Tensor, weights: Tensor, dilations: Sequence[int], iterations: int) -> Tensor:
    """mask ← Σ_n w_n · mask_n, `iterations` times."""
    masks = resize(masks.to(weights.dtype), tuple(weights.shape[-2:]), align_corners=True)
    for _ in range(iterations):
        refined = torch.zeros_like(masks)
        for i, neighbour in enumerate(_neighbours(masks, dilations)):
            refined.addcmul_(weights[:, i : i + 1], neighbour)
        masks = refined
    return masks
