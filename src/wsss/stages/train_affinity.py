"""Trains a refinement's affinity network on confident labels, or loads a published one."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import TrainAffinity
from wsss.data.dataset import Dataset
from wsss.refine.training import train_affinity
from wsss.stages.common import stage_parser, stage_session
from wsss.store.features import FeatureFiles
from wsss.training.session import training_arguments, training_place


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, help="model.safetensors whose backbone to start from")
    parser.add_argument("--labels", type=Path, help="train.h5 of make_affinity_labels; not with a checkpoint")
    parser.add_argument("--features", type=Path, help="folder of compute_features, for networks that learn from them")
    args = parser.parse_args()
    session = stage_session("train_affinity", args, TrainAffinity, "data", "classifier", "labels", "features")
    with session as settings, training_place(args) as place:
        features = args.features and FeatureFiles(args.features)
        train_affinity(settings, Dataset(args.data), args.classifier, args.labels, place, features)


if __name__ == "__main__":
    main()
