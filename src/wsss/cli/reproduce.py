"""A published system: what it takes, what its results will stand beside, and its run: `wsss reproduce seam`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from wsss.cli.errors import plain_ending
from wsss.config.loading import PRESETS
from wsss.plan.published import tables
from wsss.runtime.files import write_atomically

_BETWEEN = re.compile(r"(<!-- tables: begin -->\n).*(<!-- tables: end -->)", re.S)


def with_tables(text: str, presets: Path = PRESETS) -> str:
    """A page with the tables of every published system between its two marks.

    Raises:
        ValueError: the page lacks the marks.
    """
    if not _BETWEEN.search(text):
        raise ValueError("no lines <!-- tables: begin --> and <!-- tables: end --> in that order")
    made = tables(presets)
    return _BETWEEN.sub(lambda found: f"{found[1]}\n{made}\n{found[2]}", text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, metavar="PAGE", help="write every system's table into a Markdown page")
    args = parser.parse_args()
    with plain_ending("reproduce"):
        if args.tables is None:
            parser.error("give --tables PAGE")
        write_atomically(args.tables, with_tables(args.tables.read_text()))


if __name__ == "__main__":
    main()
