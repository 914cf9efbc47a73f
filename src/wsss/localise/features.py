"""Features of a frozen network, computed once per image for all stages that use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsss.backbones.base import Backbone
from wsss.backbones.folding import fastest
from wsss.backbones.stages import wanted_stages
from wsss.config.stages import ComputeFeatures
from wsss.localise.views import scaled_views, view_maps
from wsss.runtime.files import regular
from wsss.store.features import DIGEST, FeatureStore, FeatureWriter
from wsss.store.hdf5 import MapRecord

HALF = 65504.0
"""Largest float16."""


def frozen(backbone: Backbone, device: torch.device) -> Backbone:
    """The backbone on `device`, with the memory format and folded BatchNorm for the fastest inference."""
    return fastest(backbone.requires_grad_(False), device, lambda network, images: network(images))


def feature_maps(
    backbone: Backbone, images: np.ndarray, settings: ComputeFeatures, device: torch.device
) -> list[Tensor]:
    """Float32 maps (n·B, D, h, w) of images (B, H, W, 3) uint8, ordered by scale, then stage.

    n = 2 with `settings.flip`: first the images, then their mirror images.
    """
    views = scaled_views(images, settings, backbone.mean, backbone.std, device)
    return view_maps(views, lambda part, _rows: wanted_stages(backbone, part, settings.stages), settings.amp)


def per_image(maps: Sequence[Tensor], count: int) -> list[list[np.ndarray]]:
    """Splits the result of `feature_maps` of `count` images: each image's maps (n, D, h, w), as float16."""
    halves = [found.clamp(-HALF, HALF).half().cpu().unflatten(0, (-1, count)).numpy() for found in maps]
    return [[found[:, i] for found in halves] for i in range(count)]


def image_digest(path: Path) -> bytes:
    """Digest of an image file's bytes."""
    with regular(path).open("rb") as file:
        content = file.read()
    return blake2b(content, digest_size=DIGEST).digest()


def reuse(out: FeatureWriter, photographs: Mapping[str, Path], folders: Sequence[Path]) -> set[str]:
    """Copies the features of unchanged photographs from earlier results; returns their ids.

    photographs: image id → file. folders: results of compute_features with the same settings and code, in order of
    preference. A photograph is unchanged if its id and its file's digest are. Damaged records are not copied.
    """
    left, digests = dict(photographs), _Digests()
    for file in (file for folder in folders for file in sorted(folder.glob("*.h5"))):
        for image_id, record in _unchanged(file, left, digests):
            out.copy(image_id, record)
            del left[image_id]
    return set(photographs) - set(left)


def _unchanged(file: Path, left: Mapping[str, Path], digests: Mapping[Path, bytes]) -> Iterator[tuple[str, MapRecord]]:
    """(image id, record) of the unchanged photographs in a file of features."""
    try:
        store = FeatureStore(file)
    except (OSError, ValueError):
        return
    with store:
        for image_id in [image_id for image_id in left if image_id in store]:
            record = None
            with suppress(OSError, ValueError):
                found = store.record(image_id)
                record = found if store.photograph(found) == digests[left[image_id]] else None
            if record is not None:
                yield image_id, record


class _Digests(dict[Path, bytes]):
    """Cache of `image_digest` by file."""

    def __missing__(self, path: Path) -> bytes:
        self[path] = image_digest(path)
        return self[path]
