"""Fusion of the class activation maps of several scales and their mirror images into one map per class.

The published rules are data (`Rule`): on which grid and how image and mirror are combined, where ReLU acts, on which
grid scales are added, and how the sum is normalised.

    max        IRNet (Ahn 2019), `step/make_cam`
    psa        AffinityNet (Ahn 2018), `infer_cls`
    minmax     SEAM (Wang 2020), `infer_SEAM`
    flipmax    AFA (Ru 2022) and ToCo (Ru 2023), `multi_scale_cam`
    acr        ACR (Sun 2023), `infer_cam`: the maps of the attention's gradient
    acr_patch  the same, the classifier on the patches
    clip_es    CLIP-ES (Lin 2023): one scale, no mirror, maps that lie in [0, 1] already

Maps of a mirror image come from the network still mirrored. Maps that are already non-negative (`infer_cam.relu: view`)
are not changed by a ReLU here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from wsss.localise.views import scaled_tensor
from wsss.runtime.tensors import EPS, max_normalise, min_max_normalise, resize

Size = tuple[int, int]
STRIDED = 4
"""Pixels per cell of the maps from which IRNet's walk starts."""


@dataclass(frozen=True)
class Rule:
    """One published way to fuse maps.

    pair: combines a scale's map and that of its mirror image, flipped back.
    mirror: where the mirror is flipped back: on the network's `cells` or, after resizing, on `pixels`. They differ if
        a side is no multiple of the stride.
    grid: the grid on which scales are added: the `image`'s; the view's at scale 1 (`view`), resized to the image after
        the normalisation; or `padded`, the image's rounded up to whole cells, then cropped.
    align_corners: of the resizing from the cells.
    normalise: maps the sum (…, H, W) to [0, 1].
    relu: applied to every scale, after image and mirror are combined; or to the sum.
    """

    pair: Callable[[Tensor, Tensor], Tensor]
    mirror: Literal["cells", "pixels"]
    grid: Literal["image", "view", "padded"]
    normalise: Callable[[Tensor], Tensor]
    align_corners: bool = False
    relu: Literal["scales", "sum"] = "scales"


def seam_infer_norm(total: Tensor) -> tuple[Tensor, Tensor]:
    """SEAM's clipping and normalisation of summed maps (K, H, W) ≥ 0: two tensors of that shape.

    The sum s with values within 1e-5 of the minimum set to 0, and (s − min − 1e-5) / (max − min + 1e-5). As
    published, the latter is slightly negative where s was clipped, −1 in all-zero maps, and below 1 elsewhere.
    """
    low, high = total.amin((-2, -1), keepdim=True), total.amax((-2, -1), keepdim=True)
    cut = torch.where(total < low + EPS, 0, total)
    return cut, (cut - low - EPS) / (high - low + EPS)


def _cut_and_normalise(total: Tensor) -> Tensor:
    return seam_infer_norm(total)[1].relu()


RULES = {
    "max": Rule(torch.add, "cells", "padded", max_normalise),
    "psa": Rule(torch.add, "pixels", "image", max_normalise),
    "minmax": Rule(torch.add, "pixels", "image", _cut_and_normalise, relu="sum"),
    "flipmax": Rule(torch.maximum, "pixels", "view", min_max_normalise),
    "acr": Rule(torch.add, "pixels", "image", partial(min_max_normalise, eps=1e-6), align_corners=True),
    "acr_patch": Rule(torch.add, "pixels", "image", min_max_normalise),
    "clip_es": Rule(torch.maximum, "pixels", "image", partial(torch.clamp, max=1)),
}


def summed(views: Sequence[Tensor], rule: Rule, size: Size) -> Tensor:
    """Sum (B, K, *size) over scales of maps (2B, K, h_s, w_s), images then mirrors, ReLU included."""
    maps = (_combined(view, rule, size) for view in views)
    return sum(m.relu() for m in maps) if rule.relu == "scales" else sum(maps).relu()


def _combined(view: Tensor, rule: Rule, size: Size) -> Tensor:
    """Combines image and mirror of one scale, (2B, K, h, w) → (B, K, *size)."""
    if rule.mirror == "cells":
        image, mirror = view.chunk(2)
        return resize(rule.pair(image, mirror.flip(-1)), size, align_corners=rule.align_corners)
    image, mirror = resize(view, size, align_corners=rule.align_corners).chunk(2)
    return rule.pair(image, mirror.flip(-1))


def fuse(
    views: Sequence[Tensor], present: Tensor, size: Size, rule: str, *, stride: int = 16, view_size: Size | None = None
) -> Tensor:
    """Maps (k, H, W) in [0, 1] of the k present classes of one image.

    views: per scale (2, K, h_s, w_s), the maps of the image and of its mirror (still mirrored); present: (K,) bool.
    rule: a name in `RULES`. stride: of the network, for the grid `padded`. view_size: size of the view at scale 1, for
    the grid `view`; None: the image's.
    """
    how = _rule(rule)
    grids = {"image": size, "view": view_size or size, "padded": tuple(-(-n // stride) * stride for n in size)}
    total = summed([v[:, present] for v in views], how, grids[how.grid])[0]
    if how.grid == "padded":
        total = total[..., : size[0], : size[1]]
    maps = how.normalise(total)
    return maps if maps.shape[-2:] == size else resize(maps, size, align_corners=False)


def fuse_strided(views: Sequence[Tensor], present: Tensor, size: Size, rule: str) -> Tensor:
    """As `fuse`, on the grid of every 4th pixel (k, ⌈H/4⌉, ⌈W/4⌉), resized from the network's cells (IRNet)."""
    how = _rule(rule)
    grid = tuple(-(-n // STRIDED) for n in size)
    return how.normalise(summed([v[:, present] for v in views], how, grid)[0])


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise ValueError(f"fusion rule {name!r}, accepted are {', '.join(RULES)}")
    return RULES[name]


def multi_scale_cam(
    activations: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor, scales: Sequence[float]
) -> tuple[Tensor, ...]:
    """Maps of AFA and ToCo during training: one (B, K, H, W) in [0, 1) for each output of `activations`.

    activations: images (2·B, 3, h, w) → tuple of maps (2·B, K, h', w'), before ReLU.
    scales: factors of the image size, rounded down; 1.0 is always included, and comes first.
    """
    size, rule = tuple(images.shape[-2:]), RULES["flipmax"]
    both = torch.cat([images, images.flip(-1)])
    factors = [1.0, *(scale for scale in scales if scale != 1)]
    views = zip(*(activations(scaled_tensor(both, scale)) for scale in factors), strict=True)
    return tuple(rule.normalise(summed(v, rule, size)) for v in views)
