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
from wsss.stages.log import plain_errors


def report(folder: Path, threads: int) -> None:
    """Writes `report.html` and `figures/` to the run's folder.

    Raises:
        ValueError: the run is not complete.
    """
    started = time.monotonic()
    run = RunResults(folder)
    run.require_whole()
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
