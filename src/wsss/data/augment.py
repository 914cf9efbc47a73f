"""Training augmentation; every random draw comes from the given generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsss.config.sections import Augmentation
from wsss.data.distort import RESIZE, distorted, further_view, jitter, shift_hsv, uniform
from wsss.runtime.labels import IGNORE
from wsss.runtime.pixels import normalise_, resize_marks
from wsss.runtime.seeds import derive_seed
from wsss.runtime.tensors import box_mask


@dataclass(frozen=True)
class Augment:
    """Colour shift, resizing, flip, colour jitter, crop with padding, distortion, normalisation, in this order.

    settings: the distributions. mean, std: (3,) each, for images in [0, 1].
    """

    settings: Augmentation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image: np.ndarray, generator: torch.Generator, label: np.ndarray | None = None) -> Augmented:
        """One augmented image.

        Args:
            image: (H, W, 3) uint8. label: (H, W) uint8 class ids, 255 = ignore; or scores (k, H, W), any type.
        """
        chosen, pixels = self.settings, torch.from_numpy(image).permute(2, 0, 1)
        if chosen.hsv:
            pixels = shift_hsv(pixels, chosen.hsv, generator)
        size = self._draw_size(pixels.shape[-2:], generator)
        if size != list(pixels.shape[-2:]):
            pixels = RESIZE[chosen.resampling](pixels, size)
        flip = chosen.flip and bool(torch.rand((), generator=generator) < 0.5)
        if flip:
            pixels = pixels.flip(-1)
        if chosen.colour_jitter:
            pixels = jitter(pixels, chosen.colour_jitter, generator)
        window = _Window(chosen.crop, size, generator)
        crop = window.cut(pixels, 0)
        target = None
        if label is not None:
            marks = resize_marks(torch.from_numpy(np.array(label)), size)
            fill = IGNORE if label.ndim == 2 else 0
            target = window.cut(marks.flip(-1) if flip else marks, fill)
            target = target.long() if label.ndim == 2 else target
        return self._normalised(torch.from_numpy(image).permute(2, 0, 1), crop, window.box, target, generator)

    def _normalised(
        self, image: Tensor, crop: Tensor, box: Tensor, target: Tensor | None, generator: torch.Generator
    ) -> Augmented:
        """The distorted crop and its further views, each with independent draws."""
        chosen, seed = self.settings, generator.initial_seed()
        views = {}
        for name, view in chosen.views.items():
            source = crop if view.source == "crop" else image
            views[name] = self._finish(further_view(source, view, chosen.crop, derive_seed(seed, name)))
        if chosen.distort:
            crop, mirrored = distorted(crop, chosen.distort, derive_seed(seed, "distort"))
            if mirrored:
                box = torch.stack([box[0], box[1], chosen.crop - box[3], chosen.crop - box[2]])
                target = None if target is None else target.flip(-1)
        pixels = self._finish(crop)
        if chosen.padding == "mean":
            pixels.masked_fill_(~box_mask(box[None], pixels.shape[-2:]), 0)
        return Augmented(pixels, box, target, views)

    def _finish(self, pixels: Tensor) -> Tensor:
        return normalise_(pixels.float().div_(255), self.mean, self.std)

    def _draw_size(self, size: torch.Size, generator: torch.Generator) -> list[int]:
        factor, chosen = 1.0, self.settings
        if chosen.longest_edge and chosen.whole_edges:
            low, high = map(int, chosen.longest_edge)
            factor *= int(torch.randint(low, high + 1, (), generator=generator)) / max(size)
        elif chosen.longest_edge:
            factor *= uniform(*chosen.longest_edge, generator) / max(size)
        if chosen.scale:
            factor *= uniform(*chosen.scale, generator)
        return [max(1, round(edge * factor)) for edge in size]


class Augmented(NamedTuple):
    """One augmented image.

    pixels: (3, crop, crop) float32, normalised. box: (4,) int64, top, bottom, left, right of the unpadded part.
    target: label (crop, crop) int64, 255 in the padding; or scores (k, crop, crop), 0 in the padding; or None.
    views: further views by name, each (3, crop, crop) float32, normalised.
    """

    pixels: Tensor
    box: Tensor
    target: Tensor | None
    views: dict[str, Tensor]


class _Window:
    """A square of `edge` pixels at a random position in an image, or around it along a side that is shorter."""

    def __init__(self, edge: int, size: Sequence[int], generator: torch.Generator) -> None:
        spare = [edge - side for side in size]
        shift = [int(torch.randint(0, abs(s) + 1, (), generator=generator)) for s in spare]
        self.edge, self.height, self.width = edge, *(min(side, edge) for side in size)
        self.top, self.left = (d if s > 0 else 0 for s, d in zip(spare, shift, strict=True))
        self.y, self.x = (0 if s > 0 else d for s, d in zip(spare, shift, strict=True))

    @property
    def box(self) -> Tensor:
        return torch.tensor([self.top, self.top + self.height, self.left, self.left + self.width])

    def cut(self, source: Tensor, fill: int) -> Tensor:
        """(…, H, W) → (…, edge, edge), with `fill` in the padding."""
        canvas = source.new_full((*source.shape[:-2], self.edge, self.edge), fill)
        inside = source[..., self.y : self.y + self.height, self.x : self.x + self.width]
        canvas[..., self.top : self.top + self.height, self.left : self.left + self.width] = inside
        return canvas


def to_input(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(H, W, 3) uint8 → (3, H, W) float32, normalised."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).float().div_(255)
    return normalise_(pixels, mean, std)


def to_inputs(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float32, normalised, on `device`."""
    return torch.stack([to_input(image, mean, std) for image in images]).to(device)
