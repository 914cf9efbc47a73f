"""Tables of the classes and images to check by eye, with or without masks: see `wsss.measure.quality`."""

from __future__ import annotations

from pathlib import Path

from wsss.config.stages import Quality
from wsss.data.dataset import Dataset
from wsss.measure.quality import quality
from wsss.stages.common import read_threshold, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="train.h5 of infer_cam")
    parser.add_argument("--labels", type=Path, required=True, help="train.h5 of make_pseudo_labels")
    parser.add_argument("--threshold", type=Path, required=True, help="threshold.json of choose_threshold")
    args = parser.parse_args()
    inputs = {role: getattr(args, role) for role in ("data", "scores", "labels", "threshold")}
    with stage_session("quality", args, Quality, **inputs):
        threshold = read_threshold(args.threshold)["threshold"]
        quality(Dataset(args.data), args.scores, args.labels, threshold, args.out)


if __name__ == "__main__":
    main()
