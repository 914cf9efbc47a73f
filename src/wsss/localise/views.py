"""The views of an image: geometry, rounding of sizes, resampling, mirrors.

Published methods differ in them; settings (`wsss.config.views.Views`) select one. Resamplings are named after the
library that computes them; the resulting activation maps differ by up to 0.05.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from wsss.config.views import Views
from wsss.runtime.devices import autocast
from wsss.runtime.pixels import normalise_, resize_pixels
from wsss.runtime.tensors import resize

Size = tuple[int, int]
Normalise = Callable[[Tensor], Tensor]
"""Pixels (B, 3, h, w) of 0..255, any type → float32, normalised."""
Source = Callable[[float], Tensor]
"""A scale → the normalised view (B, 3, h, w)."""


def scaled_size(size: Size, scale: float, rounding: str) -> Size:
    """(h, w) of a view at `scale` of `size`, at least one pixel."""
    whole = round if rounding == "round" else int
    return max(1, whole(size[0] * scale)), max(1, whole(size[1] * scale))


def base_size(size: Size, views: Views) -> Size:
    """(h, w) of the view at scale 1 of an image of `size`."""
    if views.geometry == "squeeze":
        return views.edge, views.edge
    if views.geometry == "longest_edge":
        return scaled_size(size, views.edge / max(size), views.rounding)
    return size


def scaled_views(
    images: np.ndarray, views: Views, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Iterator[Tensor]:
    """One normalised batch a scale: (2B, 3, h_s, w_s), images then mirrors; (B, …) without flip.

    images: (B, H, W, 3) uint8.
    """

    def normalise(pixels: Tensor) -> Tensor:
        return normalise_(pixels.float().div_(255), mean, std)

    source = RESAMPLINGS[views.resampling](images, views, normalise, device)
    for scale in views.scales:
        view = source(scale)
        yield torch.cat([view, view.flip(-1)]) if views.flip else view


Maps = Callable[[Tensor, slice], Sequence[Tensor]]
"""(Images, their slice of the batch) → outputs of a network."""


@torch.inference_mode()
def view_maps(views: Iterable[Tensor], maps: Maps, amp: str = "off") -> list[Tensor]:
    """The outputs of `maps` for each view (B, 3, h, w) in turn, in mixed precision; float32, over the whole batch."""
    found: list[Tensor] = []
    for view in views:
        with autocast(amp, view.device):
            found += _in_parts(view, maps)
    return found


def _in_parts(view: Tensor, maps: Maps) -> list[Tensor]:
    """A GPU gets the whole batch of a view.

    A CPU gets one image at a time, whose features fit its caches; a result then does not depend on the other images of
    the batch.
    """
    size = len(view) if view.is_cuda else 1
    rows = [slice(i, i + size) for i in range(0, len(view), size)]
    parts = [maps(view[r].contiguous(memory_format=torch.channels_last), r) for r in rows]
    return [torch.cat(found).float() for found in zip(*parts, strict=True)]


def _antialiased_bilinear(images: np.ndarray, views: Views, normalise: Normalise, device: torch.device) -> Source:
    """torchvision's bilinear on 8-bit values, antialiased."""
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    return _from_pixels(pixels, views, lambda size: normalise(resize_pixels(pixels, list(size))), normalise)


def _pillow_bicubic(images: np.ndarray, views: Views, normalise: Normalise, device: torch.device) -> Source:
    """Pillow's bicubic on 8-bit values, antialiased, which differs from torchvision's."""

    def resized(size: Size) -> Tensor:
        shapes = (Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC) for image in images)
        return normalise(torch.from_numpy(np.stack([np.asarray(i) for i in shapes])).to(device).permute(0, 3, 1, 2))

    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    return _from_pixels(pixels, views, resized, normalise)


def _opencv_bilinear(images: np.ndarray, views: Views, normalise: Normalise, device: torch.device) -> Source:
    """The result of `cv2.resize` on float64, without antialiasing; its weights are float32."""
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)

    def resized(size: Size) -> Tensor:
        rows, columns = (_linear_weights(*sides).to(device) for sides in zip(pixels.shape[2:], size, strict=True))
        return normalise(torch.einsum("yh,bchw,xw->bcyx", rows, pixels.double(), columns))

    return _from_pixels(pixels, views, resized, normalise)


def _linear_weights(source: int, target: int) -> Tensor:
    """(target, source) float64: each target pixel's two neighbours on a line of `source` pixels."""
    centres = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    lower = np.floor(centres).astype(np.int64)
    share = np.where((lower < 0) | (lower >= source - 1), np.float32(0), centres - lower.astype(np.float32))
    lower = lower.clip(0, source - 1)
    weights = np.zeros((target, source))
    weights[np.arange(target), lower] += np.float32(1) - share
    weights[np.arange(target), (lower + 1).clip(max=source - 1)] += share
    return torch.from_numpy(weights)


def _from_pixels(pixels: Tensor, views: Views, resized: Callable[[Size], Tensor], normalise: Normalise) -> Source:
    """Resizes each view directly from the image; a view of the image's size is the image."""
    own = tuple(pixels.shape[-2:])
    base = base_size(own, views)

    def view(scale: float) -> Tensor:
        size = scaled_size(base, scale, views.rounding)
        return normalise(pixels) if size == own else resized(size)

    return view


def _tensor_bilinear(images: np.ndarray, views: Views, normalise: Normalise, device: torch.device) -> Source:
    """F.interpolate of the normalised image to scale 1, and of that view to the other scales."""
    own = normalise(torch.from_numpy(images).to(device).permute(0, 3, 1, 2))
    base = resize(own, base_size(tuple(own.shape[-2:]), views), align_corners=False)
    return lambda scale: scaled_tensor(base, scale, views.rounding)


def scaled_tensor(images: Tensor, scale: float, rounding: str = "floor") -> Tensor:
    """Normalised images (B, 3, H, W) at a scale, bilinear without antialiasing; unchanged at scale 1."""
    if scale == 1:
        return images
    if rounding == "floor_step":
        return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
    return resize(images, scaled_size(tuple(images.shape[-2:]), scale, rounding), align_corners=False)


RESAMPLINGS = {
    "antialiased-bilinear": _antialiased_bilinear,
    "tensor-bilinear": _tensor_bilinear,
    "pillow-bicubic": _pillow_bicubic,
    "opencv-bilinear": _opencv_bilinear,
}
