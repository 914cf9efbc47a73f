"""Chooses the background score of maps that have no background of their own."""

from __future__ import annotations

import json
from pathlib import Path

from wsss.data.dataset import Dataset
from wsss.evaluation import measured_records, threshold_curve
from wsss.metrics import THRESHOLDS, score
from wsss.progress import Progress, log
from wsss.runtime import write_atomically
from wsss.stages.common import stage_parser, stage_session


def choose_oracle(dataset: Dataset, file: Path, out: Path) -> None:
    """Writes `threshold.json`: the threshold with the best mIoU on the training masks.

    Raises:
        ValueError: there are no masks.
    """
    count = len(measured_records(dataset, "train"))
    if not count:
        raise ValueError(
            f"data set '{dataset.name}' has no masks in split 'train' to choose a threshold with; "
            "set infer_cam.threshold to a number such as 0.25"
        )
    curve = threshold_curve(dataset, file, "train", Progress(count, "images"))
    mious = [score(matrix).miou for matrix in curve.matrices()]
    best = max(range(len(mious)), key=mious.__getitem__)
    chosen = {"threshold": float(THRESHOLDS[best]), "source": "oracle"}
    log.info("threshold %.2f, mIoU %.2f %% on the training masks", chosen["threshold"], 100 * mious[best])
    write_atomically(out / "threshold.json", json.dumps(chosen))


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="train.h5 of infer_cam")
    args = parser.parse_args()
    with stage_session("choose_threshold", args):
        choose_oracle(Dataset(args.data), args.scores, args.out)


if __name__ == "__main__":
    main()
