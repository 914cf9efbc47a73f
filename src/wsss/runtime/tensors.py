"""Resizing, normalising and digesting of tensors, one function each for the whole package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of all published map normalisations


MODES = ("bilinear", "nearest", "nearest-exact")


def resize(x: Tensor, size: tuple[int, int], *, mode: str = "bilinear", align_corners: bool | None = None) -> Tensor:
    """Resize maps (K, h, w) or (B, K, h, w) to size (H, W).

    mode: "bilinear", or, for any dtype, "nearest" (cell ⌊i·h/H⌋) or "nearest-exact" (the cell at the new pixel's
    centre). align_corners: required for bilinear, and for it alone; True aligns the centres of the corner pixels,
    False the corners of the image.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}, accepted are {', '.join(MODES)}")
    if x.ndim not in (3, 4):
        raise ValueError(f"maps of shape {tuple(x.shape)}, expected (K, h, w) or (B, K, h, w)")
    if (mode == "bilinear") != (align_corners is not None):
        raise ValueError(f"align_corners={align_corners} with mode {mode!r}: give it for bilinear, only there")
    if x.numel() == 0:
        return x.new_empty(*x.shape[:-2], *size)
    batch = x if x.ndim == 4 else x[None]
    if not x.is_floating_point():  # few integer types can be interpolated; float64 holds every class id
        batch = batch.double()
    out = F.interpolate(batch, tuple(size), mode=mode, align_corners=align_corners).to(x.dtype)
    return out if x.ndim == 4 else out[0]


def max_normalise(x: Tensor, eps: float = EPS) -> Tensor:
    """Divide each map (..., H, W) by its maximum + eps; non-negative maps end in [0, 1)."""
    return x / (x.amax((-2, -1), keepdim=True) + eps)


def min_max_normalise(x: Tensor, eps: float = EPS, margin: float = 0.0) -> Tensor:
    """Each map (..., H, W) as (x − min − margin) / (max − min + eps), in [0, 1) if margin is 0.

    margin: SEAM's n(·) uses eps here and clips at 0 afterwards, so that a constant map becomes 0.
    """
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low - margin) / (high - low + eps)


def sum_normalise(x: Tensor, dim: int) -> Tensor:
    """Non-negative values divided by their sum along a dimension; 0 where all are 0.

    `F.normalize(x, p=1)` takes 80 times as long along the first dimension of maps on a CPU.
    """
    return x / x.sum(dim, keepdim=True).clamp_min(1e-12)


def largest(x: Tensor, dim: int) -> Tensor:
    """Index of the largest value along a dimension, the first of equals; `argmax` takes 3 times as long on a CPU."""
    return x.max(dim).indices


def box_mask(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """(B, H, W) bool, true inside each box. boxes: (B, 4), top, bottom, left, right; bottom and right are excluded."""
    top, bottom, left, right = boxes[:, :, None, None].unbind(1)
    y = torch.arange(size[0], device=boxes.device)[:, None]
    x = torch.arange(size[1], device=boxes.device)
    return (top <= y) & (y < bottom) & (left <= x) & (x < right)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """32 hex digits of the names, types, shapes and values of tensors on the CPU."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(memoryview(tensor.flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()


def require_finite(tensors: Mapping[str, Tensor], what: str, advice: str = "") -> None:
    """Raises ValueError if a tensor holds NaN, or what is infinite in float32.

    what: name of their owner. advice: what the user can do.
    """
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.float().isfinite().all()]
    if bad:
        todo = f"; {advice}" if advice else ""
        raise ValueError(f"{what}: holds NaN or infinite values in {len(bad)} tensor(s), e.g. {bad[0]}{todo}")
