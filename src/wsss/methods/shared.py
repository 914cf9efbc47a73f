"""Pseudo-labels from CAMs and PAR at two background scores, and their loss: shared by AFA and ToCo."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.localise.seeds import ignore_outside, irn_confident_labels
from wsss.refine.par import DILATIONS, par
from wsss.runtime import distributed
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import largest, resize

ABSENT = -1e4  # probability 0 after a softmax; unlike −inf, it can be interpolated


def denormalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] from normalised ones, truncated to multiples of 1/255 like 8-bit images."""
    scale, shift = (images.new_tensor([255 * value for value in row])[:, None, None] for row in (std, mean))
    return (images * scale + shift).clamp(0, 255).to(torch.uint8).to(images.dtype) / 255


@torch.no_grad()
def labels_by_par(
    images: Tensor,
    cams: Tensor,
    labels: Tensor,
    boxes: Tensor,
    *,
    low: float,
    high: float,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
    down_scale: int = 2,
) -> Tensor:
    """Pseudo-labels (B, H, W), int64: 0 background, k + 1 class k, 255 ignored.

    Softmax over [background score, CAMs of the present classes], refined by PAR on the downscaled image, once with the
    score `low` and once with `high`. A pixel is a class if it wins at `high`, and background if that wins at `low`;
    pixels in between, and those outside `boxes`, are ignored.

    images: (B, 3, H, W) in [0, 1]. cams: (B, K, H, W) in [0, 1]. labels: (B, K). boxes: (B, 4), top, bottom, left,
    right.
    """
    size = images.shape[-2:]
    small = (size[0] // down_scale, size[1] // down_scale)
    scores, classes = _present_scores(cams, labels, (low, high))  # (B, 2, M, H, W), (B, M)
    small_scores = resize(scores.flatten(1, 2), small, align_corners=False)
    small_images = resize(images, small, align_corners=False)
    small_scores = small_scores.unflatten(1, scores.shape[1:3]).softmax(2).flatten(1, 2)
    refined = par(small_images, small_scores, dilations=dilations, iterations=iterations)
    refined = resize(refined, size, align_corners=False)
    winners = largest(refined.unflatten(1, scores.shape[1:3]), 2)  # (B, 2, H, W)
    by_low, by_high = classes.gather(1, winners.flatten(1)).view_as(winners).unbind(1)
    return ignore_outside(irn_confident_labels(by_high, by_low), boxes)


def _present_scores(cams: Tensor, labels: Tensor, backgrounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """[background, present classes, padding] for each background score, and the classes' ids.

    The present classes are packed and padded to the largest number in the batch, so that PAR runs on 2 or 3 channels
    instead of K + 1.
    """
    count = max(int(labels.sum(1).max()), 1)
    order = labels.argsort(dim=1, descending=True, stable=True)[:, :count]  # present classes first, in order
    index = order[:, :, None, None].expand(-1, -1, *cams.shape[-2:])
    absent = (labels.gather(1, order) == 0)[:, :, None, None]
    present = cams.gather(1, index).masked_fill(absent, ABSENT)
    scores = torch.stack([F.pad(present, (0, 0, 0, 0, 1, 0), value=score) for score in backgrounds], dim=1)
    return scores, F.pad(order + 1, (1, 0))


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of the cross-entropies averaged over background and over foreground pixels (Ru 2023, eq. 7); scalar.

    logits: (B, C, H, W). labels: (B, H, W) in 0 … C−1, or 255 for ignored pixels. A term without pixels is left out:
    a batch without foreground has the background's loss alone, and 0 if all pixels are ignored.
    """
    per_pixel = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE, reduction="none")
    masks = torch.stack([labels == 0, (labels != 0) & (labels != IGNORE)]).flatten(1)  # (2, B·H·W)
    counts = distributed.batch_sum(masks.sum(1))
    terms = (masks * per_pixel.flatten()).sum(1) * distributed.processes() / counts.clamp(min=1)
    return terms.sum() / (counts > 0).sum().clamp(min=1)
