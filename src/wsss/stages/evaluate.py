"""Evaluates every result of a run: see `wsss.measure.table`."""

from __future__ import annotations

import json
from pathlib import Path

from wsss.config.stages import Evaluate
from wsss.data.dataset import Dataset
from wsss.measure.table import evaluate
from wsss.stages.common import cores, read_threshold, stage_parser, stage_session


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--threshold", type=Path, required=True, help="threshold.json of choose_threshold")
    parser.add_argument("--folders", required=True, help="JSON: `stage-split` of each row to its folder")
    args = parser.parse_args()
    folders = {name: Path(folder) for name, folder in json.loads(args.folders).items()}
    with stage_session("evaluate", args, Evaluate, "data", "threshold", folders=folders) as settings:
        threshold = read_threshold(args.threshold)
        evaluate(settings.rows, Dataset(args.data), folders, threshold, args.out, cores(args))


if __name__ == "__main__":
    main()
