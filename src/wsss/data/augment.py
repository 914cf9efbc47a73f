"""Training augmentation, each draw from the generator it is given: the same generator, the same crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wsss.runtime.labels import IGNORE
from wsss.runtime.pixels import normalise_, resize_marks, resize_pixels


@dataclass(frozen=True)
class Augment:
    """Resize, flip, colour jitter, normalise, random crop with padding.

    longest_edge, scale: U[low, high] in pixels and as a factor; colour_jitter: half-widths for brightness,
    contrast, saturation, hue; crop: edge of the square output in pixels; mean, std: for images in [0, 1].
    """

    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    longest_edge: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    flip: bool = True
    colour_jitter: tuple[float, float, float, float] | None = None

    def __call__(
        self, image: np.ndarray, generator: torch.Generator, label: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """One augmented view.

        Args:
            image: (H, W, 3) uint8. label: (H, W) uint8 class ids, 255 = ignore.

        Returns:
            (3, crop, crop) float32 normalised, 0 where padded; (4,) int64 box of the photograph in it
            (top, bottom, left, right); the label (crop, crop) int64, 255 where padded, or None.
        """
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        size = self._draw_size(pixels.shape[-2:], generator)
        if size != list(pixels.shape[-2:]):
            pixels = resize_pixels(pixels, size)
        flip = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        if flip:
            pixels = pixels.flip(-1)
        if self.colour_jitter:
            pixels = _jitter(pixels, self.colour_jitter, generator)
        (top, left), (y, x), (height, width) = self._draw_crop(size, generator)
        window = pixels[:, y : y + height, x : x + width].float().div_(255)
        canvas = torch.zeros(3, self.crop, self.crop)
        canvas[:, top : top + height, left : left + width] = normalise_(window, self.mean, self.std)
        box = torch.tensor([top, top + height, left, left + width])
        if label is None:
            return canvas, box, None
        marks = resize_marks(torch.from_numpy(np.array(label)), size)
        marks = marks.flip(-1) if flip else marks
        target = torch.full((self.crop, self.crop), IGNORE, dtype=torch.int64)
        target[top : top + height, left : left + width] = marks[y : y + height, x : x + width].long()
        return canvas, box, target

    def _draw_size(self, size: torch.Size, generator: torch.Generator) -> list[int]:
        factor = 1.0
        if self.longest_edge:
            factor *= _uniform(*self.longest_edge, generator) / max(size)
        if self.scale:
            factor *= _uniform(*self.scale, generator)
        return [max(1, round(edge * factor)) for edge in size]

    def _draw_crop(
        self, size: list[int], generator: torch.Generator
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Where the window lies in the canvas and in the image, and its height and width."""
        spare = [self.crop - edge for edge in size]
        shift = [int(torch.randint(0, abs(s) + 1, (), generator=generator)) for s in spare]
        into = tuple(d if s > 0 else 0 for s, d in zip(spare, shift, strict=True))
        out_of = tuple(0 if s > 0 else d for s, d in zip(spare, shift, strict=True))
        return into, out_of, tuple(min(edge, self.crop) for edge in size)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _jitter(pixels: Tensor, widths: tuple[float, float, float, float], generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter."""
    from torchvision.transforms.v2 import functional as F

    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for k in torch.randperm(4, generator=generator).tolist():
        if widths[k]:
            centre = 0.0 if k == 3 else 1.0
            pixels = adjust[k](pixels, _uniform(centre - widths[k], centre + widths[k], generator))
    return pixels


def to_input(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float32, normalised."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).float().div_(255)
    return normalise_(pixels, mean, std)


def to_inputs(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float32, normalised, on `device`."""
    return torch.stack([to_input(image, mean, std) for image in images]).to(device)
