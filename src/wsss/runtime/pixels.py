"""Resizing and normalising images, bit-identical to torchvision, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_pixels(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """Images (..., 3, H, W) uint8 resized to size (h, w): bilinear, antialiased, rounded to uint8."""
    batch = pixels if pixels.ndim == 4 else pixels[None]
    native = batch.device.type == "cpu" and "AVX2" in torch.backends.cpu.get_cpu_capability()
    source = batch if native else batch.float()
    out = F.interpolate(source, tuple(size), mode="bilinear", align_corners=False, antialias=True)
    out = out if native else out.round_().to(torch.uint8)
    return out if pixels.ndim == 4 else out[0]


def resize_marks(marks: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (H, W) or (k, H, W) of any type, at size (h, w), nearest neighbour: pixel i takes pixel ⌊i · H / h⌋."""
    if tuple(marks.shape[-2:]) == tuple(size):
        return marks
    maps = marks[None, None] if marks.ndim == 2 else marks[None]
    return F.interpolate(maps.float(), tuple(size), mode="nearest").reshape(*marks.shape[:-2], *size).to(marks.dtype)


def normalise_(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Images (..., 3, H, W) float32 in [0, 1] as (x − mean) / std, in place."""
    shape = (-1, 1, 1)
    centre, width = (torch.tensor(list(v), dtype=images.dtype, device=images.device).view(shape) for v in (mean, std))
    return images.sub_(centre).div_(width)
