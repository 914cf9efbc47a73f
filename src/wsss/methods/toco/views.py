"""ToCo's views of an image: local crops mined from the CAM, and a distorted global one (Ru 2023, §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BACKGROUND, UNCERTAIN, FOREGROUND = 0, 1, 2
_LUMA = (0.299, 0.587, 0.114)


def confidence_regions(cams: Tensor, labels: Tensor, low: float, high: float) -> Tensor:
    """Confidence of the CAM: int16 (B, H, W), 0 background (≤ low), 2 foreground (≥ high), 1 between.

    cams: (B, K, H, W) in [0, 1]. labels: (B, K) in {0, 1}; absent classes are left out.
    """
    score = (cams * labels[:, :, None, None]).amax(1)
    return ((score > low).to(torch.int16) + (score >= high)).to(torch.int16)


def crop_candidates(regions: Tensor, size: int, count: int) -> Tensor:
    """Possible top-left corners of crops: bool (B, H − 2·⌊size/2⌋, W − 2·⌊size/2⌋).

    A corner qualifies if the crop's centre is not certain foreground; in an image with fewer than `count` such
    corners every corner does.

    Raises:
        ValueError: the crops do not fit into the image.
    """
    margin = size // 2
    height, width = (side - 2 * margin for side in regions.shape[-2:])
    if height < 1 or width < 1 or height * width < count:
        given = " × ".join(map(str, regions.shape[-2:]))
        raise ValueError(f"{count} crops of {size} pixels do not fit into {given}; take smaller or fewer")
    centres = regions[:, margin : margin + height, margin : margin + width] < FOREGROUND
    return centres | (centres.sum((1, 2), keepdim=True) < count)


def draw_ranks(candidates: Tensor, count: int) -> Tensor:
    """`count` distinct random indices (B, count) into each image's row-major list of candidates."""
    flat = candidates.flatten(1)
    keys = torch.rand(flat.shape, device=flat.device)
    position = torch.arange(flat.shape[1], device=flat.device)
    return keys.masked_fill(position >= flat.sum(1, keepdim=True), -1).topk(count, dim=1).indices


def corners_of(candidates: Tensor, ranks: Tensor) -> Tensor:
    """(top, left) of the candidates with the given indices in the row-major list: int64 (B, n, 2)."""
    listed = candidates.flatten(1).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    flat = listed.gather(1, ranks)
    width = candidates.shape[-1]
    return torch.stack([flat // width, flat % width], dim=-1)


def cut(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Square crops (n, B, D, size, size) of images (B, D, H, W) at corners (B, n, 2)."""
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # a view: (B, D, H', W', size, size)
    image = torch.arange(len(images), device=images.device)[:, None]
    return windows.permute(0, 2, 3, 1, 4, 5)[image, corners[..., 0], corners[..., 1]].transpose(0, 1)


def positive_crops(regions: Tensor, corners: Tensor, size: int, ratio: float = 0.2) -> Tensor:
    """1 for positive crops, with enough foreground, 0 for negative ones: float32 (B, n).

    A crop is negative if the sum of its region values is at most `ratio` of its area. Certain foreground counts twice,
    as in the published code.
    """
    mass = cut(regions[:, None].float(), corners, size).sum((2, 3, 4)).T
    return (mass / size**2 > ratio).float()


def second_view(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """A strong random distortion of normalised images (B, 3, H, W), like DINO's second view (Caron 2021).

    Independently for each image, with these probabilities: flip (½), brightness, contrast and saturation (0.8),
    grey (0.2), blur (0.1), solarisation (0.2). Padding (0 in every channel) stays 0.
    """
    shift, scale = (images.new_tensor(values)[:, None, None] for values in (mean, std))
    padding = (images == 0).all(1, keepdim=True)
    x = (images * scale + shift).clamp(0, 1)
    x = torch.where(_chance(x, 0.8), _jitter(x), x)
    x = torch.where(_chance(x, 0.2), _grey(x).expand_as(x), x)
    x = torch.where(_chance(x, 0.1), _blur(x), x)
    x = torch.where(_chance(x, 0.2) & (x >= 0.5), 1 - x, x)
    x = ((x - shift) / scale).masked_fill(padding, 0)
    return torch.where(_chance(x, 0.5), x.flip(-1), x)


def _chance(images: Tensor, probability: float) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) < probability


def _jitter(x: Tensor, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.2) -> Tensor:
    """Brightness, contrast and saturation changed by factors from 1 ± each strength."""
    strengths = x.new_tensor([brightness, contrast, saturation])[:, None]
    noise = 2 * torch.rand(3, len(x), device=x.device) - 1
    bright, contrasted, saturated = (1 + strengths * noise)[..., None, None, None]
    x = (x * bright).clamp(0, 1)
    x = torch.lerp(_grey(x).mean((2, 3), keepdim=True), x, contrasted).clamp(0, 1)
    return torch.lerp(_grey(x), x, saturated).clamp(0, 1)


def _grey(x: Tensor) -> Tensor:
    """(B, 1, H, W), ITU-R 601 luma."""
    return (x * x.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _blur(x: Tensor) -> Tensor:
    """Gaussian blur with σ from U[0.1, 2] pixels for each image."""
    sigma = 0.1 + 1.9 * torch.rand(len(x), 1, device=x.device)
    offsets = torch.arange(-6.0, 7.0, device=x.device)
    kernel = (-0.5 * (offsets / sigma).square()).softmax(1)  # (B, 13)
    kernel = kernel.repeat_interleave(x.shape[1], 0)[:, None]
    height, width = x.shape[-2:]
    planes = F.pad(x, (6, 6, 6, 6), mode="replicate").flatten(0, 1)[None]  # (1, B·3, H + 12, W + 12)
    groups = planes.shape[1]
    planes = F.conv2d(planes, kernel[..., None], groups=groups)
    return F.conv2d(planes, kernel[:, :, None], groups=groups).view(len(x), -1, height, width)
