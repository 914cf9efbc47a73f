"""Makes the confident labels that supervise a refinement's affinity network."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import MakeAffinityLabels
from wsss.data.dataset import Dataset
from wsss.refine.base import Supervises
from wsss.runtime.devices import claim_device
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, features_argument, features_of, shard_arguments, shard_of
from wsss.store.features import FeatureStore
from wsss.store.maps import open_scores
from wsss.store.writers import LabelWriter, ScoreWriter


def make_affinity_labels(
    settings: MakeAffinityLabels,
    make: Supervises,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    shard: Shard,
    features: FeatureStore | None = None,
) -> None:
    """Writes the confident labels of `shard`, or the scores for them, to `file`.

    features: stored features, from which the labels are made; None: they are made from the images.
    """
    about = {"class_names": dataset.class_names, "resume": shard.resume}
    kept = getattr(settings, "scores", False)
    writer = ScoreWriter(file, **about) if kept else LabelWriter(file, palette=dataset.palette, **about)
    with open_scores(scores, dataset.class_names) as cams, writer as out:
        for group, images in shard.images(dataset, out, read=features is None):
            seeds = [cams[record.image_id] for record in group]
            if features is None:
                labels = make(images, seeds)
            else:
                labels = [make.of_stored(features, r, m) for r, m in zip(group, seeds, strict=True)]
            for record, label in zip(group, labels, strict=True):
                out.add(record.image_id, *(label if kept else [label]))


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    features_argument(parser)
    args = parser.parse_args()
    with stage_session("make_affinity_labels", args, MakeAffinityLabels, "data", "scores", "features") as settings:
        make = settings.load()(settings, claim_device(args.device))
        about = {"shard": shard_of(args), "features": features_of(args)}
        make_affinity_labels(settings, make, Dataset(args.data), args.scores, args.file, **about)


if __name__ == "__main__":
    main()
