"""Pixel-adaptive refinement against the published 48-neighbour tensors."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.inputs import smooth
from benchmarks.measure import Case, Thunk, largest_difference
from wsss.refine.par import par

DILATIONS = (1, 2, 4, 8, 12, 24)


def inputs(height: int, width: int, count: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 3, H, W) of 0..255 and masks (count, 3, H, W)."""
    rng = np.random.default_rng(5)
    images = torch.stack([smooth(rng, 3, height, width, 8) for _ in range(count)]) * 255
    masks = torch.stack([smooth(rng, 3, height, width, 16) for _ in range(count)])
    return images.to(device), masks.to(device)


def neighbours(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, 48, H, W), a copy of the map for each neighbour."""
    height, width = maps.shape[-2:]
    steps = [(d * y, d * x) for d in DILATIONS for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    padded = F.pad(maps, (24, 24, 24, 24), mode="replicate")
    views = [padded[..., 24 + y : 24 + y + height, 24 + x : 24 + x + width] for y, x in steps]
    return torch.stack(views, 2)


def plain_par(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    near = neighbours(images)
    difference = (near - images[:, :, None]).abs() / (near.std(2, keepdim=True) + 1e-8) / 0.3
    diagonal = torch.tensor([2**0.5, 1, 2**0.5, 1, 1, 2**0.5, 1, 2**0.5])
    distance = torch.cat([d * diagonal for d in DILATIONS]).to(images)
    position = (-((distance / (distance.std() + 1e-8) / 0.3) ** 2)).softmax(0)
    weights = (-(difference**2)).mean(1, keepdim=True).softmax(2) + 0.01 * position[:, None, None]
    for _ in range(10):
        masks = (neighbours(masks) * weights).sum(2)
    return masks


def plain(height: int, width: int, count: int, device: str) -> Thunk:
    images, masks = inputs(height, width, count, device)
    return lambda: plain_par(images, masks)


def ours(height: int, width: int, count: int, device: str) -> Thunk:
    images, masks = inputs(height, width, count, device)
    return lambda: par(images, masks)


def case(side: int, count: int, reference: object, **wanted: float) -> Case:
    return Case(
        "PAR, 3 maps, 10 iterations; 48-neighbour tensor" if reference is plain else "PAR, 3 maps, 10 iterations",
        f"{count}×3×{side}×{side}",
        count * side * side,
        partial(reference, side, side, count),
        partial(ours, side, side, count),
        compare=largest_difference,
        difference=1e-4,
        **wanted,
    )


def cases() -> list[Case]:
    return [case(112, 2, plain), case(224, 2, plain, faster=3, memory_ratio=5), case(448, 2, plain)]


def gpu_cases() -> list[Case]:
    return [case(224, 2, ours, faster=20), case(448, 8, ours, faster=20)]
