"""Tables of the classes and images to check by eye, with or without masks: see `wsss.measure.quality`."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import Quality
from wsss.data.dataset import Dataset
from wsss.measure.mistakes import folds, label_mistakes
from wsss.measure.quality import quality
from wsss.runtime.files import write_csv
from wsss.runtime.progress import log
from wsss.stages.common import read_threshold, stage_parser, stage_session
from wsss.store.features import FeatureFiles

SHOWN = 5
"""Number of doubted labels that are logged; the table has all."""


def doubt(dataset: Dataset, classifier: Path, features: FeatureFiles, out: Path) -> None:
    """Writes `label_mistakes.csv` of the training images, if the method supports cross-validation (`ScoresHeldOut`)."""
    from wsss.methods.base import ScoresHeldOut  # networks are seconds to import, and the tables need none
    from wsss.methods.load import load_classifier

    model, records = load_classifier(classifier), dataset.split("train")
    if not isinstance(model, ScoresHeldOut):
        return
    scores = model.held_out(features.open("train"), records, folds(len(records)))
    table = label_mistakes(records, scores, dataset.class_names)
    write_csv(table, out / "label_mistakes.csv")
    log.info("%d labels are doubted, see label_mistakes.csv", len(table))
    for row in table.head(SHOWN).itertuples():
        log.info("%s: %slabelled %s, %s", row.image_id, "" if row.labelled else "not ", row[2], row.hint)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="train.h5 of infer_cam")
    parser.add_argument("--labels", type=Path, required=True, help="train.h5 of make_pseudo_labels")
    parser.add_argument("--threshold", type=Path, required=True, help="threshold.json of choose_threshold")
    parser.add_argument("--classifier", type=Path, help="model.safetensors, of a method that learns from features")
    parser.add_argument("--features", type=Path, help="folder of compute_features; with both, labels are doubted")
    args = parser.parse_args()
    with stage_session("quality", args, Quality, "data", "scores", "labels", "threshold", "classifier", "features"):
        threshold = read_threshold(args.threshold)["threshold"]
        quality(Dataset(args.data), args.scores, args.labels, threshold, args.out)
        if args.features:
            doubt(Dataset(args.data), args.classifier, FeatureFiles(args.features), args.out)


if __name__ == "__main__":
    main()
