"""Trains a segmentation network on pseudo-labels, or on the masks as the upper bound."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.methods.load import load_classifier
from wsss.segmentation.stored_training import train_decoder
from wsss.segmentation.training import train_segmentation
from wsss.stages.common import stage_parser, stage_session
from wsss.store.features import FeatureFiles
from wsss.training.session import training_arguments, training_place


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    training_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--labels", type=Path, help="train.h5 of make_pseudo_labels; without it, the masks")
    parser.add_argument("--classifier", type=Path, help="model.safetensors whose backbone to start from")
    parser.add_argument("--features", type=Path, help="folder of compute_features, for FeatureDecoder")
    args = parser.parse_args()
    session = stage_session("train_segmentation", args, TrainSegmentation, "data", "labels", "classifier", "features")
    with session as settings, training_place(args) as place:
        if args.features:
            store = FeatureFiles(args.features).open("train")
            train_decoder(settings, Dataset(args.data), args.labels, store, place)
            return
        start = (lambda: load_classifier(args.classifier).backbone) if args.classifier else None
        train_segmentation(settings, Dataset(args.data), args.labels, start, place)


if __name__ == "__main__":
    main()
