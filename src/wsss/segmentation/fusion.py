"""Fusion of the class scores of several scales and their mirror images, by published rules.

mean       probabilities averaged, the common practice
max        the largest score
logits     scores averaged (SEAM's DeepLab, Wang 2020)
afa        image and mirror averaged, the largest of the scales on the cells of the first (Ru 2022, `test_msc_flip`)
toco       image and mirror added, the largest of the scales (Ru 2023, `infer_seg_voc`)
toco_coco  the larger of image and mirror, scales added (`infer_seg_coco_ddp`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from wsss.config.views import ScoreViews
from wsss.data.dataset import Record
from wsss.localise.views import scaled_views, view_maps
from wsss.runtime.tensors import resize
from wsss.segmentation.stored_decoder import FrozenNet
from wsss.store.features import FeatureStore

Size = tuple[int, int]
Pair = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rule:
    """One published way to fuse scores.

    pair: combines the scores of an image and its mirror, flipped back. over_scales: combines the scales.
    grid: where scales are combined: the image's pixels, or the cells of the first scale's scores.
    softmax: of every view on its cells, or of the fused scores at the image's size.
    """

    pair: Pair
    over_scales: Literal["mean", "sum", "max"]
    grid: Literal["image", "cells"] = "image"
    softmax: Literal["views", "fused"] = "fused"


def _mean(image: Tensor, mirror: Tensor) -> Tensor:
    return (image + mirror) / 2


RULES = {
    "mean": Rule(_mean, "mean", softmax="views"),
    "max": Rule(torch.maximum, "max"),
    "logits": Rule(_mean, "mean"),
    "afa": Rule(_mean, "max", grid="cells"),
    "toco": Rule(torch.add, "max"),
    "toco_coco": Rule(torch.maximum, "sum"),
}


def fused_scores(maps: Sequence[Tensor], size: Size, flip: bool, rule: Rule) -> Tensor:
    """(B, C, h, w) on the rule's grid; maps: per scale (2B, C, h_s, w_s), images then mirrors, (B, …) without flip."""
    grid = size if rule.grid == "image" else tuple(maps[0].shape[-2:])

    def combined(scores: Tensor) -> Tensor:
        scores = resize(scores.softmax(1) if rule.softmax == "views" else scores, grid, align_corners=False)
        if not flip:
            return scores
        image, mirror = scores.chunk(2)
        return rule.pair(image, mirror.flip(-1))

    fused = reduce(torch.maximum if rule.over_scales == "max" else torch.add, (combined(scores) for scores in maps))
    return fused / len(maps) if rule.over_scales == "mean" else fused


def view_scores(model: nn.Module, images: np.ndarray, settings: ScoreViews, device: torch.device) -> Tensor:
    """Fused scores (B, C, h, w) of images (B, H, W, 3) uint8. model: images → logits, with attributes mean and std."""
    views = scaled_views(images, settings, model.mean, model.std, device)
    maps = view_maps(views, lambda part, _rows: [model(part)], settings.amp)
    return fused_scores(maps, images.shape[1:3], settings.flip, RULES[settings.fusion])


@torch.inference_mode()
def stored_scores(model: FrozenNet, store: FeatureStore, image_id: str, size: Size, settings: ScoreViews) -> Tensor:
    """As `view_scores`, (1, C, h, w), from an image's stored features, of mirrors too if the settings have them."""
    device, views, maps = next(model.parameters()).device, 2 if settings.flip else 1, []
    for scale in settings.scales:
        stages = store.stages_at(image_id, scale, model.stages)
        maps.append(model.decoder([torch.from_numpy(found[:views]).to(device).float() for found in stages]))
    return fused_scores(maps, size, settings.flip, RULES[settings.fusion])


def group_scores(
    model: nn.Module,
    group: Sequence[Record],
    images: np.ndarray,
    settings: ScoreViews,
    device: torch.device,
    features: FeatureStore | None,
) -> Tensor:
    """Fused scores (B, C, h, w) of images of equal size: `stored_scores` if there are features, else `view_scores`."""
    if features is None:
        return view_scores(model, images, settings, device)
    return torch.cat([stored_scores(model, features, r.image_id, r.size, settings) for r in group])


def probabilities(scores: Tensor, size: Size, settings: ScoreViews) -> Tensor:
    """Class probabilities (B, C, *size) from fused scores."""
    if scores.shape[-2:] != size:
        scores = resize(scores, size, align_corners=False)
    return scores if RULES[settings.fusion].softmax == "views" else scores.softmax(1)
