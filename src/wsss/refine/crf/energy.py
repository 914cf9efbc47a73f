"""Dense energy loss (Tang 2018; ToCo, Ru 2023): rewards equal predictions at pixels of similar colour and place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsss.refine.crf.lattice import PermutohedralLattice
from wsss.refine.crf.mean_field import as_rows, bilateral_features
from wsss.runtime.labels import IGNORE
from wsss.runtime.tensors import box_mask, resize

KERNELS = ("lattice", "exact")
EXACT_ROWS = 1024
"""Rows of the exact kernel matrix computed at a time."""


def bilateral_filter(
    images: Tensor, values: Tensor, sigma_xy: float, sigma_rgb: float, kernel: str = "lattice"
) -> Tensor:
    """Σ_j exp(−½‖f_i − f_j‖²) v_j, f = (x/σ_xy, y/σ_xy, rgb/σ_rgb), over all pixels j including i, not normalised.

    images: (B, 3, H, W) in 0..255. values, result: (B, C, H, W). kernel: `lattice`, linear in pixels and
    about 0.53 of the sum, as published; `exact`, quadratic, for small images.

    Raises:
        ValueError: unknown kernel.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} given; accepted: {', '.join(KERNELS)}")
    features = as_rows(bilateral_features(images, sigma_xy, sigma_rgb))
    rows = as_rows(values)
    if kernel == "lattice":
        filtered = PermutohedralLattice(features).filter(rows)
    else:
        filtered = _exact_filter(features.to(rows.dtype), rows)
    return filtered.transpose(1, 2).unflatten(2, values.shape[-2:])


def dense_energy(
    images: Tensor,
    probs: Tensor,
    labels: Tensor,
    roi: Tensor,
    sigma_rgb: float = 15.0,
    sigma_xy: float = 100.0,
    scale: float = 0.5,
    weight: float = 1e-7,
    kernel: str = "lattice",
) -> Tensor:
    """−weight/B · Σ S·(K∗S)·gate, a scalar, with S = probs·roi at `scale` times the resolution.

    images: (B, 3, H, W) in 0..255. probs: (B, C, H, W). labels: (B, H, W), 255 where unknown.
    roi: (B, H, W), 1 inside the photograph and 0 in the padding. sigma_xy: pixels of the full resolution.
    gate = max(0, roi − max_c probs), 1 at unknown pixels: labelled pixels with confident predictions have no effect.
    The gradient is the published −2·weight·(K∗S)·gate·roi/B, in which the gate is constant and outside of K.
    """
    height, width = (int(edge * scale) for edge in images.shape[-2:])
    maps = torch.cat([images, roi[:, None].to(images), labels[:, None].to(images)], dim=1)
    images, roi, labels = resize(maps, (height, width), mode="nearest").split([3, 1, 1], dim=1)
    probs = resize(probs, (height, width), align_corners=False)
    with torch.no_grad():
        gate = (roi - probs.amax(1, keepdim=True)).clamp(min=0).masked_fill(labels == IGNORE, 1.0)
        reward = gate * bilateral_filter(images, probs * roi, sigma_xy * scale, sigma_rgb, kernel)
    return weight * _Energy.apply(probs * roi, reward)


def dense_energy_loss(
    images: Tensor,
    logits: Tensor,
    labels: Tensor,
    boxes: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    **settings: Any,
) -> Tensor:
    """`dense_energy` of softmax(logits), a negative scalar.

    images: (B, 3, H, W), normalised by `mean` and `std` of the range 0..1. logits: (B, C, H, W).
    labels: (B, H, W), 255 where unknown. boxes: (B, 4), (top, bottom, left, right) of the photograph.
    settings: sigma_rgb, sigma_xy, scale, weight, kernel of `dense_energy`.
    """
    roi = box_mask(boxes, images.shape[-2:])
    return dense_energy(grey_levels(images, mean, std), logits.float().softmax(1), labels, roi, **settings)


def grey_levels(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (B, 3, H, W) in 0..255, not rounded, from images normalised by the `mean` and `std` of 0..1."""
    scale, shift = (images.new_tensor(values)[:, None, None] for values in (std, mean))
    return (images * scale + shift) * 255


class _Energy(torch.autograd.Function):
    """−1/B Σ S·R, with R = gate·(K∗S) quadratic in S: the derivative is −2R/B, not −R/B."""

    @staticmethod
    def forward(ctx: Any, segmentation: Tensor, reward: Tensor) -> Tensor:
        ctx.save_for_backward(reward)
        return -(segmentation * reward).sum() / len(reward)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (reward,) = ctx.saved_tensors
        return -2 / len(reward) * grad * reward, None


def _exact_filter(features: Tensor, rows: Tensor) -> Tensor:
    """The product of the kernel matrix of features (B, N, d) and `rows` (B, N, C), computed by blocks of rows."""
    blocks = []
    for block in features.split(EXACT_ROWS, dim=1):
        distance = torch.cdist(block, features, compute_mode="donot_use_mm_for_euclid_dist")
        blocks.append(torch.exp(-0.5 * distance.square()) @ rows)
    return torch.cat(blocks, dim=1)
