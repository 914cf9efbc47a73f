"""Chooses the background score of maps and writes its curve: see `wsss.localise.choose`."""

from __future__ import annotations

import json
from pathlib import Path

from wsss.config.stages import ChooseThreshold
from wsss.data.dataset import Dataset
from wsss.localise.choose import choose_threshold
from wsss.runtime.files import write_atomically, write_csv
from wsss.stages.common import cores, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="train.h5 of infer_cam, or of refine_cam")
    args = parser.parse_args()
    with stage_session("choose_threshold", args, ChooseThreshold, "data", "scores") as settings:
        found = choose_threshold(settings, Dataset(args.data), args.scores, cores(args))
        chosen = {"threshold": found.threshold, "source": found.source, "masks": found.masks}
        if found.curve is not None:
            write_csv(found.curve, args.out / "curve.csv", digits=3)
        write_atomically(args.out / "threshold.json", json.dumps(chosen))


if __name__ == "__main__":
    main()
