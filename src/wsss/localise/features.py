"""Features of a frozen network: computed once for every image, read by whatever learns or localises with them."""

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
from wsss.localise.views import in_parts, scaled_views
from wsss.runtime.tensors import AMP_TYPES
from wsss.store.features import DIGEST, FeatureStore, FeatureWriter
from wsss.store.hdf5 import Record

HALF = 65504.0
"""Largest float16."""


def frozen(backbone: Backbone, device: torch.device) -> Backbone:
    """The backbone on `device`, in the layout and with the folding that make it fastest."""
    return fastest(backbone.requires_grad_(False), device, lambda network, images: network(images))


@torch.inference_mode()
def feature_maps(
    backbone: Backbone, images: np.ndarray, settings: ComputeFeatures, device: torch.device, amp: str = "off"
) -> list[Tensor]:
    """Float32 maps of images (B, H, W, 3) uint8: at each scale the settings' stages, (n·B, D, h, w), mirrors last."""
    found: list[Tensor] = []
    for view in scaled_views(images, settings, backbone.mean, backbone.std, device):
        with torch.autocast(device.type, AMP_TYPES.get(amp), enabled=amp != "off"):
            found += in_parts(view, lambda part, _rows: wanted_stages(backbone, part, settings.stages))
    return found


def per_image(maps: Sequence[Tensor], count: int) -> list[list[np.ndarray]]:
    """Each image's maps (n, D, h, w) float16 of `feature_maps` of `count` images."""
    halves = [found.clamp(-HALF, HALF).half().cpu().unflatten(0, (-1, count)).numpy() for found in maps]
    return [[found[:, i] for found in halves] for i in range(count)]


def image_digest(path: Path) -> bytes:
    """What stands for a photograph: a digest of its file."""
    with path.open("rb") as file:
        content = file.read()
    return blake2b(content, digest_size=DIGEST).digest()


def reuse(out: FeatureWriter, photographs: Mapping[str, Path], folders: Sequence[Path]) -> set[str]:
    """Copies the features of photographs that have not changed from earlier results; the ids of those.

    photographs: image id → file. folders: of compute_features with the same settings and code, the one to prefer first.
    A photograph is the same if its id and the digest of its file are; what is damaged is left to be computed.
    """
    left, digests = dict(photographs), _Digests()
    for file in (file for folder in folders for file in sorted(folder.glob("*.h5"))):
        for image_id, record in _unchanged(file, left, digests):
            out.copy(image_id, record)
            del left[image_id]
    return set(photographs) - set(left)


def _unchanged(file: Path, left: Mapping[str, Path], digests: Mapping[Path, bytes]) -> Iterator[tuple[str, Record]]:
    """The whole records of photographs that a file of features holds as they are."""
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
    """`image_digest` of a file, read once."""

    def __missing__(self, path: Path) -> bytes:
        self[path] = image_digest(path)
        return self[path]
