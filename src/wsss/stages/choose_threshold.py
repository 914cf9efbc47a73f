"""Chooses the background score of maps that have no background of their own."""

from __future__ import annotations

import json
from pathlib import Path

from wsss.config.stages import ChooseThreshold
from wsss.data.dataset import Dataset
from wsss.localise.choose import choose_threshold
from wsss.runtime.files import write_atomically
from wsss.stages.common import cores, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="train.h5 of infer_cam")
    args = parser.parse_args()
    with stage_session("choose_threshold", args, ChooseThreshold, data=args.data, scores=args.scores) as settings:
        found = choose_threshold(settings, Dataset(args.data), args.scores, cores(args))
        chosen = {"threshold": found, "source": settings.policy}
        write_atomically(args.out / "threshold.json", json.dumps(chosen))


if __name__ == "__main__":
    main()
