"""The two operations every stage needs the same way: resizing and normalising maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5  # of all published map normalisations


def resize(
    x: Tensor, size: tuple[int, int], *, mode: str = "bilinear", align_corners: bool = False
) -> Tensor:
    """Resize maps (K, h, w) or (B, K, h, w) to size (H, W).

    mode: "bilinear", or "nearest" (takes the cell that holds the centre of each new pixel; any dtype).
    align_corners: bilinear only; True puts the corner pixels' centres on one another.
    """
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"mode {mode!r}, accepted are 'bilinear' and 'nearest'")
    if x.ndim not in (3, 4):
        raise ValueError(f"maps of shape {tuple(x.shape)}, expected (K, h, w) or (B, K, h, w)")
    if tuple(x.shape[-2:]) == tuple(size) or x.numel() == 0:
        return x.new_empty(*x.shape[:-2], *size) if x.numel() == 0 else x
    batch = x if x.ndim == 4 else x[None]
    if mode == "bilinear":
        out = F.interpolate(batch, tuple(size), mode=mode, align_corners=align_corners)
    elif batch.is_floating_point():
        out = F.interpolate(batch, tuple(size), mode="nearest-exact")
    else:
        # float64 holds every class id exactly; interpolate takes few integer types.
        out = F.interpolate(batch.double(), tuple(size), mode="nearest-exact").to(x.dtype)
    return out if x.ndim == 4 else out[0]


def max_normalise(x: Tensor, eps: float = EPS) -> Tensor:
    """Divide each map (..., H, W) by its maximum + eps; non-negative maps end in [0, 1)."""
    return x / (x.amax((-2, -1), keepdim=True) + eps)


def min_max_normalise(x: Tensor, eps: float = EPS, margin: float = 0.0) -> Tensor:
    """Map each (..., H, W) by (x − min − margin) / (max − min + eps): into [0, 1), or from −margin/eps with one.

    margin: SEAM's n(·) takes eps here and cuts at 0 afterwards, so that a constant map becomes 0.
    """
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low - margin) / (high - low + eps)
