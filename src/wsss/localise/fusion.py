"""Fusing the class activation maps of several scales and their mirror images to one map a class.

Three published rules, which differ in where they resize, add and normalise:
    max      IRNet (Ahn 2019), `step/make_cam`
    minmax   SEAM (Wang 2020), `infer_SEAM`
    flipmax  AFA (Ru 2022) and ToCo (Ru 2023), `multi_scale_cam`
All resize bilinearly with align_corners=False. A mirror's maps come as the network gave them, still mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wsss.runtime.tensors import EPS, max_normalise, min_max_normalise, resize

Size = tuple[int, int]


def present_classes(labels: Tensor) -> Tensor:
    """Indices (k,) of the foreground classes in the image labels (K,) ∈ {0, 1}; class id = index + 1."""
    return labels.nonzero()[:, 0]


def irn_cam_norm(maps: Sequence[Tensor], present: Tensor, size: Size, *, stride: int = 16) -> tuple[Tensor, Tensor]:
    """IRNet's maps of the present classes, each by its maximum: on the stride-4 grid, and at full size.

    maps: per scale (K, h_s, w_s), map and mirror added, non-negative; present: (K,) bool.
    Returns (k, ⌈H/4⌉, ⌈W/4⌉) and (k, H, W) in [0, 1).
    """
    maps = [m[present] for m in maps]
    return irn_strided(maps, size), irn_full_size(maps, size, stride=stride)


def irn_strided(maps: Sequence[Tensor], size: Size) -> Tensor:
    """Sum of (k, h_s, w_s) on the grid of every 4th pixel, by the maximum: (k, ⌈H/4⌉, ⌈W/4⌉)."""
    grid = tuple((n - 1) // 4 + 1 for n in size)
    return max_normalise(sum(resize(m, grid, align_corners=False) for m in maps))


def irn_full_size(maps: Sequence[Tensor], size: Size, *, stride: int = 16) -> Tensor:
    """Sum of (k, h_s, w_s) at full size, by the maximum: (k, H, W).

    The network pads an image to whole cells of `stride` pixels: maps are resized to that size, then cropped.
    """
    padded = tuple(-(-n // stride) * stride for n in size)
    total = sum(resize(m, padded, align_corners=False) for m in maps)
    return max_normalise(total[..., : size[0], : size[1]])


def seam_sum(views: Sequence[Tensor], labels: Tensor, size: Size) -> Tensor:
    """Sum (K, H, W) ≥ 0 over scales of map and mirror (2, K, h_s, w_s), times the image labels (K,)."""
    views = [resize(v, size, align_corners=False) for v in views]
    total = sum(v[0] + v[1].flip(-1) for v in views)
    return (total * labels[:, None, None]).relu()


def seam_infer_norm(total: Tensor) -> tuple[Tensor, Tensor]:
    """SEAM's cut and normalisation of summed maps (K, H, W) ≥ 0: two tensors of that shape.

    The sum s with values within 1e-5 of the minimum set to 0, and (s − min − 1e-5) / (max − min + 1e-5): as
    published, slightly negative where s was cut, −1 in all-zero maps, below 1 elsewhere.
    """
    low, high = total.amin((-2, -1), keepdim=True), total.amax((-2, -1), keepdim=True)
    cut = torch.where(total < low + EPS, 0, total)
    return cut, (cut - low - EPS) / (high - low + EPS)


def flipmax_sum(views: Sequence[Tensor], size: Size) -> Tensor:
    """Sum (B, K, H, W) of ReLU(max(map, mirror)) over scales; views: (2·B, K, h_s, w_s), mirrors last."""
    pairs = (resize(v, size, align_corners=False).chunk(2) for v in views)
    return sum(torch.maximum(image, mirror.flip(-1)).relu() for image, mirror in pairs)


def toco_multi_scale_cam(
    activations: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor, scales: Sequence[float]
) -> tuple[Tensor, ...]:
    """AFA's and ToCo's maps during training: one (B, K, H, W) in [0, 1) for each map the network gives.

    activations: images (2·B, 3, h, w) → tuple of maps (2·B, K, h', w'), before ReLU.
    scales: factors of the image size, rounded down; 1.0 always comes first, named or not.
    """
    size = tuple(images.shape[-2:])
    both = torch.cat([images, images.flip(-1)])
    grids = [size] + [(int(s * size[0]), int(s * size[1])) for s in scales if s != 1.0]
    views = zip(*(activations(resize(both, grid, align_corners=False)) for grid in grids), strict=True)
    return tuple(min_max_normalise(flipmax_sum(v, size)) for v in views)


def fuse(views: Sequence[Tensor], present: Tensor, size: Size, rule: str, *, stride: int = 16) -> Tensor:
    """Maps (k, H, W) in [0, 1] of the k present classes of one image.

    views: per scale (2, K, h_s, w_s), the image's maps and its mirror's (still mirrored); present: (K,) bool.
    rule: "max", "minmax" (its negative values become 0) or "flipmax"; stride: of the network, used by "max".
    """
    if rule not in RULES:
        raise ValueError(f"fusion rule {rule!r}, accepted are {', '.join(RULES)}")
    views = [v[:, present] for v in views]
    return RULES[rule](views, size, stride)


def _fuse_max(views: Sequence[Tensor], size: Size, stride: int) -> Tensor:
    return irn_full_size([(v[0] + v[1].flip(-1)).relu() for v in views], size, stride=stride)


def _fuse_minmax(views: Sequence[Tensor], size: Size, _stride: int) -> Tensor:
    total = seam_sum(views, views[0].new_ones(views[0].shape[1]), size)
    return seam_infer_norm(total)[1].relu()


def _fuse_flipmax(views: Sequence[Tensor], size: Size, _stride: int) -> Tensor:
    return min_max_normalise(flipmax_sum(views, size))[0]


RULES = {"max": _fuse_max, "minmax": _fuse_minmax, "flipmax": _fuse_flipmax}
