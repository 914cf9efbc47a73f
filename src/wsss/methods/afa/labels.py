"""AFA's pseudo-labels (Ru et al. 2022, §3.3, 3.4): multi-scale CAM with affinity, and PAR."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wsss.localise.fusion import multi_scale_cam
from wsss.methods.afa.affinity import column_transition, present_softmax
from wsss.methods.attention_affinity import radius_mask
from wsss.refine.par import DILATIONS, par
from wsss.refine.walk import dense_walk
from wsss.runtime.tensors import resize

MapsAndAffinity = Callable[[Tensor], tuple[Tensor, Tensor]]


def multi_scale_maps(
    net: MapsAndAffinity, images: Tensor, scales: Sequence[float]
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """CAM over scales and flips, fused by `flipmax`, and the affinity at the largest scale.

    Args:
        net: views (2B, 3, H', W') → class maps (2B, K, h, w) and affinities (2B, h·w, h·w).
        images: (B, 3, H, W); their views are ⌊scale·H⌋ × ⌊scale·W⌋.
        scales: factors of the image size; 1 is always evaluated, and first. As published, the affinity is that of the
            evaluation whose index is the largest scale's index in `scales`; unless `scales` begins with 1, that is
            another scale.

    Returns:
        maps (B, K, H, W) in [0, 1]; affinities (B, N, N) of the unflipped images; their grid (h, w).
    """
    affinities: list[tuple[Tensor, tuple[int, int]]] = []

    def maps(views: Tensor) -> tuple[Tensor]:
        maps, pairs = net(views)
        affinities.append((pairs[: len(images)], tuple(maps.shape[-2:])))
        return (maps,)

    (fused,) = multi_scale_cam(maps, images, scales)
    affinity, grid = affinities[list(scales).index(max(scales))]
    return fused, affinity, grid


def propagated_scores(
    maps: Tensor, pairs: Tensor, grid: tuple[int, int], labels: Tensor, background: float, radius: int
) -> Tensor:
    """Class scores (B, C, H, W) after propagation by the affinity, background first (§3.3).

    maps: (B, K, H, W) in [0, 1]; pairs: affinities (B, N, N) on the grid; labels: (B, K); background: its score in
    [0, 1]; radius: cells, the largest distance of a pair.
    """
    scores = present_softmax(resize(maps, grid, align_corners=False), labels, background).float()
    transition = column_transition(pairs, radius_mask(*grid, radius, maps.device))
    with torch.autocast(maps.device.type, enabled=False):  # class scores differ by less than half precision resolves
        walked = dense_walk(scores.flatten(2), transition, steps=1).view(scores.shape)
    return resize(walked, tuple(maps.shape[-2:]), align_corners=False)


def refine_in_boxes(
    images: Tensor,
    scores: Tensor,
    present: Tensor,
    boxes: Tensor,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = 10,
) -> Tensor:
    """Scores refined by PAR within each image's box, at half resolution; zero outside it and for absent maps.

    Args:
        images: (B, 3, H, W), not normalised; any range.
        scores: (B, M, H, W), M maps per image.
        present: (B, M), 0 for maps that are left out.
        boxes: (B, 4), (top, bottom, left, right) of the unpadded image.

    Returns:
        (B, M, H, W) float32.
    """
    # PAR refines every map independently, so only the largest number of present maps in the batch is computed.
    chosen = (present != 0).float()
    index = chosen.topk(int(chosen.sum(1).max()), dim=1).indices[:, :, None, None]
    index = index.expand(-1, -1, *scores.shape[-2:])
    maps = scores.float().gather(1, index)
    refined = torch.zeros_like(maps)
    for box in boxes.unique(dim=0):  # crops of different sizes cannot be stacked; equal ones are refined together
        rows = (boxes == box).all(dim=1).nonzero().squeeze(1)
        top, bottom, left, right = box.tolist()
        image, inside = (t[rows, :, top:bottom, left:right] for t in (images, maps))
        refined[rows, :, top:bottom, left:right] = _refine_at_half(image, inside, dilations, iterations)
    return refined.new_zeros(scores.shape).scatter(1, index, refined) * chosen[:, :, None, None]


def _refine_at_half(images: Tensor, maps: Tensor, dilations: Sequence[int], iterations: int) -> Tensor:
    size = tuple(images.shape[-2:])
    half = (max(size[0] // 2, 1), max(size[1] // 2, 1))
    refined = par(resize(images, half, align_corners=False), maps, dilations, iterations)
    return resize(refined, size, align_corners=False)
