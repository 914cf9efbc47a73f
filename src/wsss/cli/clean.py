"""Stage folders that no run of the project refers to: `wsss clean` lists them, `--remove` removes them.

The project is the folder that the results lie in; all of its YAML files that define runs count, unless some are named.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from wsss.cli.jobs import linked_names, planned_steps, read_steps
from wsss.config.hints import finished_runs, project_of, yaml_files
from wsss.config.loading import read_config
from wsss.plan.run import Plan, plan_runs
from wsss.plan.steps import STAGES
from wsss.plan.tables import plan_tables
from wsss.runtime.ending import plain_ending
from wsss.runtime.records import read_record, require_keys
from wsss.runtime.targets import a_path


def planned(project: Path, files: Sequence[Path]) -> tuple[set[Path], set[str]]:
    """The stage folders, relative to the project, of every run and table of its configurations; the runs' names.

    Raises:
        ValueError: one of them is wrong, or there is none: nothing is known to be of no use then.
    """
    contents = [read_config(file) for file in files]
    if not any("runs" in content or "tables" in content for content in contents):
        raise ValueError(f"{project}: no configuration there that defines runs; name it by --configfile")
    steps = planned_steps(
        project, lambda: (p for file, content in zip(files, contents, strict=True) for p in _plans(file, content))
    )
    return {folder for _, _, folder in steps}, {run for run, _, _ in steps}


def _plans(file: Path, content: dict[str, Any]) -> list[Plan]:
    """The plans of a configuration's runs and tables; none of another YAML file. ValueError: names the file."""
    if "runs" not in content and "tables" not in content:
        return []
    try:
        tables = plan_tables(content).values()
        return [*plan_runs(content).values(), *(entry.plan for entries in tables for entry in entries)]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def unused(results: Path, keep: set[Path], runs: set[str]) -> Iterator[Path]:
    """Folders of results that are not to be kept, the work of running jobs left out.

    The steps of a run's current table are kept until the run is made again, by other code or other settings. So is what
    no stage made: folders of other names, links, and folders with files but without a manifest.
    """
    linked = linked_names(results).items()
    used = {folder for folder, names in linked if any(name.split("/")[0] in runs for name in names)}
    used |= {folder for run in runs for folder in _of_table(results, run)}  # links may be lost
    used |= {step.folder.resolve() for step in read_steps(results, {}) if step.state == "running"}
    names = {folder.relative_to(STAGES) for folder in keep}
    for folder in sorted((results / "stages").glob("*/*/")):
        unnamed = folder.relative_to(results / "stages") not in names and folder.resolve() not in used
        if unnamed and re.fullmatch("[0-9a-f]{16}", folder.name) and not folder.is_symlink():
            if (folder / "manifest.json").is_file() or not any(map(Path.is_file, folder.rglob("*"))):
                yield folder
            else:
                print(f"{folder}: stays, as it has no manifest.json and may be yours", file=sys.stderr)


def _of_table(results: Path, run: str) -> Iterator[Path]:
    """The stage folders of which a run's table was made, by its run.json; none if it is not there or damaged."""
    with suppress(OSError, ValueError):
        for step in read_record(results / run / "run.json", steps=list)["steps"]:
            step = require_keys(results, step, stage=str, folder=str)
            yield (results / "stages" / step["stage"] / Path(step["folder"]).name).resolve()


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss clean", description=__doc__)
    parser.add_argument(
        "results", type=a_path, nargs="?", default=Path("results"), help="folder of results (default: results)"
    )
    parser.add_argument(
        "--configfile",
        type=a_path,
        nargs="+",
        help="whose runs to keep (default: every configuration of the project)",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--dry-run", action="store_true", help="list, remove nothing (the default)")
    choice.add_argument("--remove", action="store_true", help="remove what is listed")
    args = parser.parse_args()
    with plain_ending("clean"):
        if not (args.results / "stages").is_dir():
            raise ValueError(f"{args.results}: no folder of results, which holds a folder 'stages'")
        project = project_of(args.results)
        files = [Path(os.path.abspath(file)) for file in args.configfile or yaml_files(project)]  # noqa: PTH100
        keep, runs = planned(project, files)
        for run in finished_runs(args.results):
            if run.name not in runs:
                print(f"{run}: is in no configuration that counts; --configfile names others", file=sys.stderr)
        _clean(args.results, keep, runs, remove=args.remove)


def _clean(results: Path, keep: set[Path], runs: set[str], *, remove: bool) -> None:
    total = 0
    for folder in unused(results, keep, runs):
        found = size(folder)
        total += found
        print(f"{found / 1e6:10.1f} MB  {folder}")
        if remove:
            shutil.rmtree(folder)
    done = "removed" if remove else "would be removed by --remove"
    print(f"{total / 1e6:10.1f} MB  {done}")


if __name__ == "__main__":
    main()
