"""Multi-scale, flipped inference over groups of images of equal size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsss.backbones.folding import fastest
from wsss.config.views import CamViews, Views
from wsss.data.dataset import Record
from wsss.data.groups import read_groups, size_groups
from wsss.localise.base import Localises, LocalisesStored
from wsss.localise.fusion import fuse, fuse_strided
from wsss.localise.gradients import localise
from wsss.localise.views import base_size, scaled_views, view_maps
from wsss.store.features import FeatureStore


def image_scores(model: Localises, records: Sequence[Record], device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Class logits (N, K) of whole images at their own size, and their labels (N, K)."""
    scores, labels = [], []
    for group, images in read_groups(size_groups(records)):
        views = scaled_views(images, Views(flip=False), model.backbone.mean, model.backbone.std, device)
        scores += view_maps(views, lambda part, _rows: [model.logits(part)])
        labels += [record.labels for record in group]
    return torch.cat(scores).cpu().numpy(), np.stack(labels)


@torch.inference_mode()
def stored_image_scores(
    model: LocalisesStored, store: FeatureStore, records: Sequence[Record]
) -> tuple[np.ndarray, np.ndarray]:
    """As `image_scores`, from stored features."""
    return model.stored_logits(store, records).cpu().numpy(), np.stack([record.labels for record in records])


def for_inference(model: Localises, device: torch.device) -> Localises:
    """The classifier on `device`, with the memory format and folded BatchNorm for the fastest inference."""
    return fastest(model, device, lambda network, images: network.activation_maps(images))


class Cams(NamedTuple):
    """Maps in [0, 1] of an image's k present classes.

    full: (k, H, W); strided: every 4th pixel, (k, ⌈H/4⌉, ⌈W/4⌉), if the settings have it.
    """

    full: Tensor
    strided: Tensor | None


def cam_group(model: Localises, images: np.ndarray, labels: Tensor, settings: CamViews) -> list[Cams]:
    """Fused maps of the present classes of each image, on the model's device.

    images: (B, H, W, 3) uint8; labels: (B, K) in {0, 1}.
    """
    labels = labels.to(next(model.parameters()).device)
    both = labels.repeat(2, 1) if settings.flip else labels  # images, then mirrors
    backbone, signed = model.backbone, settings.relu == "fused"
    views = scaled_views(images, settings, backbone.mean, backbone.std, labels.device)
    maps = view_maps(
        views, lambda part, rows: [localise(model, part, settings.localiser, both[rows], signed=signed)], settings.amp
    )
    count, size = len(images), images.shape[1:3]
    grids = {"stride": backbone.stride, "view_size": base_size(size, settings)}
    pairs = ([_pair(found[i::count], settings.flip) for found in maps] for i in range(count))
    return [_fused(pair, row > 0, size, settings, grids) for pair, row in zip(pairs, labels, strict=True)]


@torch.inference_mode()
def stored_cams(model: LocalisesStored, store: FeatureStore, record: Record, settings: CamViews) -> Cams:
    """As `cam_group`, from an image's stored features, of mirrors too if the settings have them."""
    found = [model.stored_maps(store, record.image_id, scale) for scale in settings.scales]
    pairs = [_pair(maps, settings.flip) for maps in found]
    present = torch.from_numpy(record.labels).to(found[0].device) > 0
    grids = {"stride": model.backbone.stride, "view_size": base_size(record.size, settings)}
    return _fused(pairs, present, record.size, settings, grids)


def cam_maker(
    model: Localises, settings: CamViews, device: torch.device, features: FeatureStore | None
) -> Callable[[Sequence[Record], np.ndarray | None], list[Cams]]:
    """A function (group, its images) → maps: `stored_cams` if there are features, else `cam_group`."""
    if features is not None:
        model = model.to(device)
        return lambda group, _images: [stored_cams(model, features, record, settings) for record in group]
    model = for_inference(model, device)

    def of_images(group: Sequence[Record], images: np.ndarray) -> list[Cams]:
        return cam_group(model, images, torch.from_numpy(np.stack([r.labels for r in group])), settings)

    return of_images


def _fused(pairs: list[Tensor], present: Tensor, size: tuple[int, int], settings: CamViews, grids: dict) -> Cams:
    full = fuse(pairs, present, size, settings.fusion, **grids)
    return Cams(full, fuse_strided(pairs, present, size, settings.fusion) if settings.strided else None)


def _pair(maps: Tensor, flip: bool) -> Tensor:
    """An image's map and its mirror's (2, K, h, w), of maps (n, K, h, w); without flip the map is its own mirror."""
    return maps if flip else torch.stack([maps[0], maps[0].flip(-1)])
