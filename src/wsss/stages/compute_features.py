"""Computes the features of a split's images by a frozen network, for all stages that use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from wsss.backbones.base import Backbone
from wsss.backbones.build import build_backbone
from wsss.config.stages import ComputeFeatures
from wsss.data.dataset import Dataset
from wsss.data.groups import WriteBehind
from wsss.localise.features import feature_maps, frozen, image_digest, per_image, reuse
from wsss.plan.earlier import earlier_folders
from wsss.runtime.devices import claim_device
from wsss.runtime.progress import log, tell
from wsss.runtime.seeds import derive_seed
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, shard_arguments, shard_of
from wsss.store.features import FeatureWriter


def compute_features(
    settings: ComputeFeatures,
    dataset: Dataset,
    backbone: Backbone,
    file: Path,
    *,
    shard: Shard,
    device: torch.device,
    earlier: Sequence[Path] = (),
) -> None:
    """Writes the features of `shard` to `file`; those of unchanged images are copied from `earlier` results."""
    backbone = frozen(backbone, device)
    writer = FeatureWriter(file, settings.scales, settings.stages, shard.resume)
    with writer as out, WriteBehind() as behind:
        records = shard.records(dataset)
        known = reuse(out, {record.image_id: record.image for record in records}, earlier)
        if known:
            log.info("%d of %d images are unchanged: their features are reused", len(known), len(records))
        tell(reused=len(known))
        for group, images in shard.images(dataset, out, without=known):
            maps = per_image(feature_maps(backbone, images, settings, device), len(group))
            for record, found in zip(group, maps, strict=True):
                behind(out.add, record.image_id, image_digest(record.image), found)


def network(settings: ComputeFeatures) -> Backbone:
    """The network; weights that no file holds are the same in every process, and in the stages that train on it."""
    torch.manual_seed(derive_seed(0, "init"))
    return build_backbone(settings.backbone)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    args = parser.parse_args()
    with stage_session("compute_features", args, ComputeFeatures, "data") as settings:
        device, dataset, shard = claim_device(args.device), Dataset(args.data), shard_of(args)
        backbone = network(settings)
        earlier = earlier_folders(args.out, "upstream")
        compute_features(settings, dataset, backbone, args.file, shard=shard, device=device, earlier=earlier)


if __name__ == "__main__":
    main()
