"""AFA's pseudo-labels (Ru et al. 2022, §3.4): multi-scale CAM, PAR inside the photograph, two thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wsss.methods.afa_affinity import IGNORE
from wsss.refine.par import DILATIONS, par

MapsAndAffinity = Callable[[Tensor], tuple[Tensor, Tensor]]


def multi_scale_maps(
    net: MapsAndAffinity, images: Tensor, scales: Sequence[float], *, published_affinity: bool = False
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """CAM over scales and flips, fused by `flipmax`, and the affinity at the largest scale.

    Args:
        net: views (2B, 3, H', W') → class maps (2B, K, h, w) and affinities (2B, h·w, h·w).
        images: (B, 3, H, W); their views are ⌊scale·H⌋ × ⌊scale·W⌋.
        scales: besides 1, which is always evaluated, and first.
        published_affinity: take the matrix whose place in the order of evaluation is the largest scale's place
            in `scales`, as the published code does. It is another scale's unless `scales` begins with 1.

    Returns:
        maps (B, K, H, W) in [0, 1]; affinities (B, N, N) of the unflipped images; their grid (h, w).
    """
    order = [1.0, *(scale for scale in scales if scale != 1)]
    largest = list(scales).index(max(scales)) if published_affinity else order.index(max(order))
    fused: Tensor | float = 0.0
    for index, scale in enumerate(order):
        maps, pairs = net(_views(images, scale))
        if index == largest:
            affinity, grid = pairs[: len(images)], (maps.shape[-2], maps.shape[-1])
        maps = F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)
        plain, mirrored = maps.chunk(2)
        fused = fused + torch.maximum(plain, mirrored.flip(-1)).relu()
    fused = fused - fused.amin((-2, -1), keepdim=True)
    return fused / (fused.amax((-2, -1), keepdim=True) + 1e-5), affinity, grid


def _views(images: Tensor, scale: float) -> Tensor:
    """The images at a scale, then their mirror images."""
    if scale != 1:
        size = [int(scale * side) for side in images.shape[-2:]]
        images = F.interpolate(images, size, mode="bilinear", align_corners=False)
    return torch.cat([images, images.flip(-1)])


def refine_in_boxes(
    images: Tensor,
    scores: Tensor,
    present: Tensor,
    boxes: Tensor,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
) -> Tensor:
    """Scores refined by PAR against the photograph at half resolution; zero outside it and for absent maps.

    Args:
        images: (B, 3, H, W), not normalised; any range.
        scores: (B, M, H, W), M maps an image, of one or several labellings.
        present: (B, M), 0 for maps that are left out.
        boxes: (B, 4), (top, bottom, left, right) of the photograph.

    Returns:
        (B, M, H, W).
    """
    # PAR treats maps alike and apart, so each image brings as many as the one with the most, and no more.
    most = int((present != 0).sum(1).max())
    picked = (
        (present != 0).float().topk(most, dim=1).indices[:, :, None, None].expand(-1, -1, *scores.shape[-2:])
    )
    maps = scores.gather(1, picked)
    refined = torch.zeros_like(maps)
    for box in boxes.unique(dim=0):  # crops of different sizes do not stack; equal ones are refined together
        rows = (boxes == box).all(dim=1).nonzero().squeeze(1)
        top, bottom, left, right = box.tolist()
        inside = (slice(None), slice(top, bottom), slice(left, right))
        crop = _refine_at_half(images[rows][:, *inside], maps[rows][:, *inside], dilations, iterations)
        refined[rows, :, top:bottom, left:right] = crop
    refined = torch.zeros_like(scores).scatter(1, picked, refined)
    return refined * (present != 0)[:, :, None, None]


def _refine_at_half(images: Tensor, maps: Tensor, dilations: Sequence[int], iterations: int) -> Tensor:
    size = images.shape[-2:]
    half = [max(side // 2, 1) for side in size]
    images = F.interpolate(images, half, mode="bilinear", align_corners=False)
    refined = par(images, maps, dilations, iterations)
    return F.interpolate(refined, size, mode="bilinear", align_corners=False)


def confident_labels(low: Tensor, high: Tensor, boxes: Tensor) -> Tensor:
    """Labels that two background scores agree on: int64 (B, H, W).

    low, high: (B, C, H, W), scores with the low and with the high background. Foreground where it beats the
    high background, background where the low one wins, 255 between and outside `boxes` (B, 4).
    """
    low_labels, labels = low.argmax(1), high.argmax(1)
    uncertain = (labels == 0) & (low_labels != 0)
    return labels.masked_fill(uncertain | ~inside_boxes(boxes, *labels.shape[-2:]), IGNORE)


def inside_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Pixels inside the boxes (B, 4), (top, bottom, left, right): bool (B, height, width)."""
    top, bottom, left, right = boxes.T[:, :, None, None]
    y = torch.arange(height, device=boxes.device)[:, None]
    x = torch.arange(width, device=boxes.device)
    return (top <= y) & (y < bottom) & (left <= x) & (x < right)


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (B, C, h, w), resized to labels (B, H, W): a scalar, finite for any labels.

    The mean of its means over background pixels and over foreground pixels, of those that occur; 255 is left
    out. Zero, with zero gradient, if neither occurs.
    """
    logits = F.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
    losses = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="none")
    regions = torch.stack([labels == 0, (labels != 0) & (labels != IGNORE)]).flatten(1)  # (2, B·H·W)
    counts = regions.sum(1)
    means = (losses.flatten() * regions).sum(1) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)
