"""Checks a run before it computes: its networks, or with --data what the data set must have for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wsss.config.loading import load_section
from wsss.config.run import Run
from wsss.data.dataset import Dataset
from wsss.plan.checks import check_data
from wsss.plan.rehearsal import check_networks
from wsss.plan.views import check_views
from wsss.runtime.files import write_atomically
from wsss.stages.log import plain_errors


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for the first error that would otherwise end the run later."""
    settings = load_section(Run, args.config)
    if args.data is not None:
        dataset = Dataset(args.data)
        check_data(settings, dataset, args.where)
        check_views(settings, dataset, args.where)
    else:
        check_networks(settings, args.processes, args.where)
    write_atomically(args.passed, json.dumps({"run": args.where}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--where", required=True, help="the run's section of the configuration, for messages")
    parser.add_argument("--config", required=True, help="the run's settings: JSON text, or a JSON/YAML file")
    parser.add_argument("--processes", type=int, default=1, help="processes that share a training batch")
    parser.add_argument("--data", type=Path, help="folder of prepare_data")
    parser.add_argument("--passed", type=Path, required=True, help="file to write if nothing is wrong")
    args = parser.parse_args()
    with plain_errors():
        check(args)


if __name__ == "__main__":
    main()
