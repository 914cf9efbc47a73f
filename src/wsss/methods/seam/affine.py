"""The affine family of SEAM (Wang 2020, Table 3): rescale, flip, rotation, translation, and combinations.

A `Warp` is one transformation A(x), which applies to images and to class maps of the same size. A `WarpFamily` draws
one for each training step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.runtime.tensors import resize

_INSIDE = 1 - 1e-4  # a rotated mask of ones is 1 inside, up to rounding of the interpolation


@dataclass(frozen=True)
class Warp:
    """Flip, then rotate, then translate, then rescale.

    flip: mirror left to right.
    degrees: counter-clockwise rotation about the centre.
    shift: (down, right) in pixels of the original size.
    scale: side length of the result relative to the original, rounded down to whole pixels.
    """

    flip: bool = False
    degrees: float = 0.0
    shift: tuple[int, int] = (0, 0)
    scale: float = 1.0

    def __call__(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, ⌊H·scale⌋, ⌊W·scale⌋); pixels from outside are 0."""
        if self.flip:
            maps = maps.flip(-1)
        if self.degrees:
            maps = rotate(maps, self.degrees)
        if self.shift != (0, 0):
            maps = translate(maps, *self.shift)
        return rescale(maps, self.scale) if self.scale != 1 else maps

    def inside(self, maps: Tensor) -> Tensor | None:
        """Boolean (h, w): pixels of the warped `maps` that depend on original pixels only; None if all do."""
        if not self.degrees and self.shift == (0, 0):
            return None
        ones = maps.new_ones(1, 1, *maps.shape[-2:])
        return self(ones)[0, 0] > _INSIDE


@dataclass(frozen=True)
class WarpFamily:
    """Distribution of the warps; by default the paper's, a fixed rescaling by 0.3.

    scale: (lowest, highest) side length ratio, uniform.
    flip: always mirror the second view; the augmentation already mirrors the first one at random.
    degrees: rotation is uniform in ±degrees (the paper: 20).
    pixels: translation is uniform in ±pixels, in both directions (the paper: 15).

    Raises:
        ValueError: scales that are not 0 < lowest ≤ highest, or negative degrees or pixels.
    """

    scale: tuple[float, float] = (0.3, 0.3)
    flip: bool = False
    degrees: float = 0.0
    pixels: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be 0 < lowest ≤ highest; got {self.scale}")
        if self.degrees < 0 or self.pixels < 0:
            raise ValueError(f"degrees and pixels must be ≥ 0; got {self.degrees} and {self.pixels}")

    def draw(self) -> Warp:
        """One member, from torch's global random state on the CPU."""
        scale, angle, down, right = torch.rand(4, dtype=torch.float64).tolist()
        steps = 2 * self.pixels + 1
        return Warp(
            flip=self.flip,
            degrees=(2 * angle - 1) * self.degrees,
            shift=(int(down * steps) - self.pixels, int(right * steps) - self.pixels),
            scale=self.scale[0] + scale * (self.scale[1] - self.scale[0]),
        )


def rescale(maps: Tensor, scale: float) -> Tensor:
    """(B, C, H, W) → (B, C, ⌊H·scale⌋, ⌊W·scale⌋), bilinear, `align_corners=True`."""
    height, width = (max(1, math.floor(side * scale)) for side in maps.shape[-2:])
    return resize(maps, (height, width), align_corners=True)


def rotate(maps: Tensor, degrees: float) -> Tensor:
    """Counter-clockwise about the centre, same size, bilinear, 0 outside."""
    h, w = maps.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # grid_sample's coordinates run from −1 to 1 along both sides, whatever their lengths.
    matrix = maps.new_tensor([[cos, -sin * h / w, 0], [sin * w / h, cos, 0]])
    grid = F.affine_grid(matrix.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def translate(maps: Tensor, down: int, right: int) -> Tensor:
    """Translation by whole pixels, same size, 0 for pixels from outside."""
    return F.pad(maps, (right, -right, down, -down))
