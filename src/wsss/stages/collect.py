"""Links a run's stage folders under `results/{run}/` and puts its table there."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from wsss.runtime import write_atomically


def collect(run: Path, folders: dict[str, Path], table: Path) -> None:
    """Replaces the links of `run` by `folders` (label → stage folder), then copies the table."""
    run.mkdir(parents=True, exist_ok=True)
    for old in run.iterdir():
        if old.is_symlink():
            old.unlink()
    for label, folder in folders.items():
        (run / label).symlink_to(os.path.relpath(folder, run), target_is_directory=True)
    write_atomically(run / "miou.csv", lambda path: shutil.copyfile(table, path))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="results/{run}")
    parser.add_argument("--folders", required=True, help="JSON: link name to stage folder")
    parser.add_argument("--table", type=Path, required=True, help="miou.csv of evaluate")
    args = parser.parse_args()
    folders = {label: Path(folder) for label, folder in json.loads(args.folders).items()}
    collect(args.run, folders, args.table)


if __name__ == "__main__":
    main()
