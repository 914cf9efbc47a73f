"""Links a run's stage folders under `results/{run}/` and puts its table there."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from wsss.plan.notes import note, note_argument
from wsss.report.card import model_card, write_model_folder
from wsss.runtime.files import write_atomically
from wsss.runtime.records import read_table
from wsss.stages.log import plain_errors


def collect(run: Path, outline: dict[str, Any], table: Path) -> None:
    """Replaces the links of `run` by those of the outline's steps; writes `run.json`, the table and `model/`.

    Raises:
        ValueError: the table or another result is damaged; only the links are made then. Or a copy of a stage's results
            is where its link belongs.
    """
    read_table(table, "stage", "split", "images", "miou")
    places = [run / step["label"] for step in outline["steps"]]
    if copy := next((place for place in places if place.exists() and not place.is_symlink()), None):
        raise ValueError(f"{copy}: a link to the stage's results belongs there; move this away, or remove it")
    run.mkdir(parents=True, exist_ok=True)
    for old in run.iterdir():
        if old.is_symlink():
            old.unlink()
    for step in outline["steps"]:
        (run / step["label"]).symlink_to(os.path.relpath(step["folder"], run), target_is_directory=True)
    write_model_folder(run, model_card(run, table))  # refuses damaged results, before anything is replaced
    write_atomically(run / "run.json", json.dumps(outline, indent=1, ensure_ascii=False))
    write_atomically(run / "miou.csv", lambda path: shutil.copyfile(table, path))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="results/{run}")
    parser.add_argument("--outline", required=True, help="JSON: the run's steps, as wsss.plan.outline describes them")
    parser.add_argument("--table", type=Path, required=True, help="miou.csv of evaluate")
    note_argument(parser)
    args = parser.parse_args()
    with plain_errors():
        collect(args.run, json.loads(args.outline), args.table)
        note(args.run / "miou.csv", args.made_of)


if __name__ == "__main__":
    main()
