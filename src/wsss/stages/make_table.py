"""Collects a paper's table, with measured and published numbers, and its figure over scales, from the runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from wsss.plan.notes import note, note_argument
from wsss.report.paper_table import make_table, plot_scales
from wsss.runtime.files import write_csv
from wsss.stages.log import plain_errors


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", required=True, help="JSON list of table, entry, stage, published, miou")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    parser.add_argument("--figure", type=Path, required=True, help="CSV of the figure; the PNG lies beside it")
    note_argument(parser)
    args = parser.parse_args()
    with plain_errors():
        frame = make_table(json.loads(args.entries))
        figure = frame[frame["table"].str.startswith("Figure")]
        write_csv(frame.drop(figure.index), args.table)
        write_csv(figure.drop(columns=["published"]), args.figure)
        plot_scales(figure, args.figure.with_suffix(".png"))
        note(args.table, args.made_of)
    print(frame.drop(figure.index).to_string(index=False, float_format="%.2f", na_rep="-"), file=sys.stderr)


if __name__ == "__main__":
    main()
