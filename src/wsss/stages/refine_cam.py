"""Refines the maps of a split, e.g. by a random walk, and adds a background map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from wsss.config.common import PowerBackground
from wsss.config.stages import RefineCam
from wsss.data.dataset import Dataset
from wsss.data.groups import WriteBehind
from wsss.refine.base import Models, Refines
from wsss.runtime.devices import claim_device
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, features_argument, features_of, shard_arguments, shard_of
from wsss.store.features import FeatureStore
from wsss.store.maps import BACKGROUND_POWER, open_scores
from wsss.store.writers import ScoreWriter


@torch.inference_mode()
def refine_cam(
    refine: Refines,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    shard: Shard,
    device: torch.device,
    features: FeatureStore | None = None,
    power: float | None = None,
) -> None:
    """Writes the refined maps (background first) of `shard` to `file`.

    features: stored features, used by the refinement; None: it runs on the images. power: p, where the refinement's
    background map is (1 − max)^p.
    """
    about = {} if power is None else {BACKGROUND_POWER: str(power)}
    writer = ScoreWriter(file, class_names=dataset.class_names, attributes=about, resume=shard.resume)
    with open_scores(scores, dataset.class_names) as cams, writer as store, WriteBehind() as behind:
        for group, images in shard.images(dataset, store, read=features is None):
            seeds = [cams[record.image_id] for record in group]
            maps = [torch.from_numpy(found.scores).to(device) for found in seeds]
            if images is None:
                refined = [refine.of_stored(features, r, m) for r, m in zip(group, maps, strict=True)]
            else:
                refined = refine(images, maps)
            for record, found, maps in zip(group, seeds, refined, strict=True):
                behind(store.add, record.image_id, np.r_[0, found.classes], maps.cpu().numpy())


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--affinity", type=Path, help="model.safetensors of train_affinity, if the refinement has one")
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    features_argument(parser)
    args = parser.parse_args()
    with stage_session(
        "refine_cam", args, RefineCam, "data", "classifier", "affinity", "scores", "features"
    ) as settings:
        device = claim_device(args.device)
        refine = settings.load()(settings, Models(args.classifier, args.affinity), device)
        power = settings.background if isinstance(settings, PowerBackground) else None
        about = {"shard": shard_of(args), "device": device, "features": features_of(args), "power": power}
        refine_cam(refine, Dataset(args.data), args.scores, args.file, **about)


if __name__ == "__main__":
    main()
