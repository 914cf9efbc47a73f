"""Features of a split's images by a frozen network, once for all stages that learn from them or localise with them."""

from __future__ import annotations

from pathlib import Path

import torch

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone
from wsss.config.stages import ComputeFeatures
from wsss.data.dataset import Dataset
from wsss.localise.features import feature_maps, frozen, image_digest, per_image
from wsss.localise.inference import WriteBehind
from wsss.runtime.devices import claim_device, resolve_amp
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, shard_arguments, shard_of
from wsss.store.features import FeatureWriter


def compute_features(
    settings: ComputeFeatures, dataset: Dataset, backbone: Backbone, file: Path, *, shard: Shard, device: torch.device
) -> None:
    """Writes the features of `shard` to `file`."""
    backbone, amp = frozen(backbone, device), resolve_amp(settings.amp, device)
    writer = FeatureWriter(file, settings.scales, settings.stages, shard.resume)
    with writer as out, WriteBehind() as behind:
        for group, images in shard.images(dataset, out):
            maps = per_image(feature_maps(backbone, images, settings, device, amp), len(group))
            for record, found in zip(group, maps, strict=True):
                behind(out.add, record.image_id, image_digest(record.image), found)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    args = parser.parse_args()
    with stage_session("compute_features", args, ComputeFeatures, data=args.data) as settings:
        device, dataset, shard = claim_device(args.device), Dataset(args.data), shard_of(args)
        backbone = build_backbone(settings.backbone)
        compute_features(settings, dataset, backbone, args.file, shard=shard, device=device)


if __name__ == "__main__":
    main()
