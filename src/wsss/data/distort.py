"""Random image transforms: colours, blur, mirror, random rectangles, resizing.

torchvision, whose import takes seconds, is imported in the functions that use it. Its random transforms draw from
torch's global generator, which is seeded for each view and restored afterwards, so that a view depends on its seed
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from wsss.config.sections import Distortion, FurtherView
from wsss.runtime.pixels import resize_pixels


def uniform(low: float, high: float, generator: torch.Generator | None = None) -> float:
    """A number from U[low, high]."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def jitter(pixels: Tensor, widths: Sequence[float], generator: torch.Generator | None = None) -> Tensor:
    """Brightness, contrast, saturation and hue of (3, H, W) uint8 in random order, as torchvision's ColorJitter."""
    from torchvision.transforms.v2 import functional as V

    adjust = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation, V.adjust_hue)
    for k in torch.randperm(4, generator=generator).tolist():
        if widths[k]:
            centre = 0.0 if k == 3 else 1.0
            pixels = adjust[k](pixels, uniform(centre - widths[k], centre + widths[k], generator))
    return pixels


def shift_hsv(pixels: Tensor, widths: Sequence[float], generator: torch.Generator) -> Tensor:
    """Adds U[−w, w] × range to hue (cyclic), saturation and value of (3, H, W) uint8."""
    shifts = [round(255 * uniform(-width, width, generator)) for width in widths]
    hsv = np.asarray(_image(pixels).convert("HSV")).astype(np.int16) + np.int16(shifts)
    hsv[..., 0] %= 256
    return _pixels(Image.fromarray(hsv.clip(0, 255).astype(np.uint8), "HSV").convert("RGB"))


def distorted(pixels: Tensor, settings: Distortion, seed: int) -> tuple[Tensor, bool]:
    """The distorted image (3, H, W) uint8, and whether it was mirrored; a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _distorted(pixels, settings)


def further_view(pixels: Tensor, settings: FurtherView, crop: int, seed: int) -> Tensor:
    """A view (3, crop, crop) uint8 of an image (3, H, W), or of its crop; a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.area is not None:
            from torchvision.transforms import v2

            cubic = v2.InterpolationMode.BICUBIC
            pixels = v2.RandomResizedCrop(crop, scale=settings.area, interpolation=cubic, antialias=True)(pixels)
        return _distorted(pixels, settings)[0]


def _distorted(pixels: Tensor, settings: Distortion) -> tuple[Tensor, bool]:
    flip = _chance(settings.flip)
    if flip:
        pixels = pixels.flip(-1)
    if settings.colour_jitter and _chance(settings.jitter_probability):
        pixels = jitter(pixels, settings.colour_jitter)
    if _chance(settings.grey):
        pixels = _pixels(_image(pixels).convert("L").convert("RGB"))
    if _chance(settings.blur):
        pixels = _pixels(_image(pixels).filter(ImageFilter.GaussianBlur(uniform(*settings.blur_radius))))
    if _chance(settings.solarise):
        pixels = torch.where(pixels < 128, pixels, 255 - pixels)
    return pixels, flip


def _chance(probability: float) -> bool:
    return bool(torch.rand(()) < probability)


def _pillow(pixels: Tensor, size: Sequence[int], rule: Image.Resampling) -> Tensor:
    return _pixels(_image(pixels).resize(tuple(size)[::-1], rule))


def _opencv(pixels: Tensor, size: Sequence[int], mode: str) -> Tensor:
    """OpenCV's resizing without antialiasing; torch's bicubic has OpenCV's coefficient a = −0.75."""
    out = F.interpolate(pixels[None].float(), tuple(size), mode=mode, align_corners=False)[0]
    return out.round_().clamp_(0, 255).to(torch.uint8)


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


RESIZE: dict[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "antialiased-bilinear": resize_pixels,
    "pillow-bilinear": partial(_pillow, rule=Image.Resampling.BILINEAR),
    "pillow-bicubic": partial(_pillow, rule=Image.Resampling.BICUBIC),
    "opencv-bilinear": partial(_opencv, mode="bilinear"),
    "opencv-bicubic": partial(_opencv, mode="bicubic"),
}
"""Name of a resampling → function that resizes (3, H, W) uint8."""
