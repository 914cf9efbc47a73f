"""Makes a run's page `report.html` and its figures from its results."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from wsss.plan.notes import note, note_argument
from wsss.report.content import report_page
from wsss.report.figures import save_figures
from wsss.report.run import RunResults
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import log
from wsss.runtime.records import AGAIN, read_table
from wsss.stages.common import plain_errors

_NEEDED = ("threshold", "threshold_source", "miou", "m_fn", "m_fp", "pixel_accuracy", "images")


def _require_whole(run: RunResults) -> None:
    """Raises ValueError unless the run's table has the columns that were written, and a row for each evaluated map."""
    path = run.folder / "miou.csv"
    table = read_table(path, "stage", "split", *_NEEDED, *(f"iou_{name}" for name in run.dataset.class_names))
    rows = sorted(f"{row.stage}-{row.split}" for row in table.itertuples())
    if rows != sorted(run.confusions) or table["images"].isna().any():
        raise ValueError(f"{path}: damaged (its rows are not those that were measured); {AGAIN}")


def report(folder: Path, threads: int) -> None:
    """Writes `report.html` and `figures/` to the run's folder.

    Raises:
        ValueError: the run is not complete.
    """
    started = time.monotonic()
    run = RunResults(folder)
    _require_whole(run)
    page = report_page(run, threads)
    write_atomically(folder / "report.html", page)
    save_figures(run, folder / "figures")
    size = len(page.encode()) / 1e6
    log.info("%s/report.html: %.1f MB, in %.1f s", folder, size, time.monotonic() - started)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="results/{run}, with its run.json")
    parser.add_argument("--threads", type=int, default=1, help="images packed at once")
    note_argument(parser)
    args = parser.parse_args()
    logging.basicConfig(format="[report] %(message)s")
    log.setLevel(logging.INFO)
    with plain_errors():
        report(args.run, args.threads)
        note(args.run / "report.html", args.made_of)


if __name__ == "__main__":
    main()
