"""Compares runs on one page: `wsss compare results/a results/b --out results/compare.html`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from wsss.plan.notes import note, note_argument
from wsss.report.comparison import compare_page
from wsss.report.run import RunResults
from wsss.runtime.ending import plain_ending
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import log
from wsss.runtime.targets import a_path, refuse_foreign, refuse_sources


def distinct(folders: Sequence[Path]) -> list[RunResults]:
    """The runs in the folders; of one name, as of two projects, they are called by their folders.

    Raises:
        ValueError: a run is named twice, or not complete.
    """
    runs = [RunResults(folder) for folder in folders]
    places, names = [folder.resolve() for folder in folders], [run.name for run in runs]
    for run, place, name in zip(runs, places, names, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{run.folder}: is named twice; accepted are different runs")
        run.name = str(run.folder) if names.count(name) > 1 else name
    return runs


def check_target(target: Path, runs: Sequence[Path]) -> None:
    """Checks that the target may be overwritten.

    Raises:
        ValueError: the target's suffix is not .html, or it is the page of a run.
    """
    if target.suffix.lower() not in (".html", ".htm") or target.is_dir():
        raise ValueError(f"--out {target}: accepted is the name of an .html file")
    refuse_sources([target], [run / "report.html" for run in runs])
    refuse_foreign(target, _is_ours, "a page of wsss compare")


def _is_ours(page: Path) -> bool:
    with page.open("rb") as file:
        return b"wsss comparison</title>" in file.read(1 << 16)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=a_path, nargs="+", help="folders of runs, e.g. results/shapes")
    parser.add_argument("--out", type=a_path, required=True, help="HTML file to write")
    parser.add_argument("--threads", type=int, default=1, help="images packed at once (default: 1)")
    note_argument(parser)
    args = parser.parse_args()
    logging.basicConfig(format="[compare] %(message)s")
    log.setLevel(logging.INFO)
    with plain_ending("compare"):
        check_target(args.out, args.runs)
        write_atomically(args.out, compare_page(distinct(args.runs), args.threads))
        note(args.out, args.made_of)
        log.info("%s: open it in a browser", args.out)


if __name__ == "__main__":
    main()
