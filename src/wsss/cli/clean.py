"""`wsss clean`: lists, or with `--remove` removes, the stage folders that no run of the configuration refers to."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from wsss.cli.status import read_status
from wsss.config.loading import read_config
from wsss.plan.run import STAGES, plan_runs
from wsss.plan.tables import plan_tables
from wsss.runtime.ending import plain_ending


def planned(config: Path) -> set[Path]:
    """The stage folders, relative to the results' parent, of every run and table of a configuration."""
    content = read_config(config)
    plans = list(plan_runs(content).values())
    plans += [entry.plan for entries in plan_tables(content).values() for entry in entries]
    return {step.folder for plan in plans for step in plan.steps}


def unused(results: Path, keep: set[Path]) -> Iterator[Path]:
    """Stage folders that are not in `keep`, without those of running jobs."""
    running = {step.folder.resolve() for step in read_status(results) if step.state == "running"}
    names = {folder.relative_to(STAGES) for folder in keep}
    for folder in sorted((results / "stages").glob("*/*/")):
        if folder.relative_to(results / "stages") not in names and folder.resolve() not in running:
            yield folder


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss clean", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="folder of results")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[Path("config.yaml")], help="whose runs to keep")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--dry-run", action="store_true", help="list, remove nothing (the default)")
    choice.add_argument("--remove", action="store_true", help="remove what is listed")
    args = parser.parse_args()
    with plain_ending("clean"):
        keep = set().union(*(planned(config) for config in args.configfile))
        _clean(args.results, keep, remove=args.remove)


def _clean(results: Path, keep: set[Path], *, remove: bool) -> None:
    total = 0
    for folder in unused(results, keep):
        found = size(folder)
        total += found
        print(f"{found / 1e6:10.1f} MB  {folder}")
        if remove:
            shutil.rmtree(folder)
    done = "removed" if remove else "would be removed by --remove"
    print(f"{total / 1e6:10.1f} MB  {done}")


if __name__ == "__main__":
    main()
