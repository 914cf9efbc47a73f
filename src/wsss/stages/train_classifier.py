"""Trains a classifier on image-level labels, or loads a published one."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import TrainClassifier
from wsss.data.dataset import Dataset
from wsss.methods.training import train_classifier
from wsss.stages.common import stage_parser, stage_session
from wsss.store.features import FeatureFiles
from wsss.training.session import training_arguments, training_place


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--features", type=Path, help="folder of compute_features, for methods that learn from them")
    args = parser.parse_args()
    session = stage_session("train_classifier", args, TrainClassifier, "data", "features")
    with session as settings, training_place(args) as place:
        train_classifier(settings, Dataset(args.data), place, args.features and FeatureFiles(args.features))


if __name__ == "__main__":
    main()
