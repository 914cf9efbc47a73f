"""Collects a paper's table from the runs that measure it: measured beside published, and the figure over scales."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from wsss.plan.notes import note
from wsss.runtime.files import write_atomically
from wsss.stages.common import plain_errors

COLUMNS = ["table", "entry", "published", "measured", "threshold", "m_fn", "m_fp", "images"]


def make_table(entries: list[dict[str, object]]) -> pd.DataFrame:
    """A line an entry; entries: table, entry, stage, published, and miou, the path of the run's miou.csv.

    Raises:
        ValueError: a run has no such row: its data set has no masks to measure with.
    """
    lines = []
    for entry in entries:
        rows = pd.read_csv(entry["miou"])
        found = rows[(rows["stage"] == entry["stage"]) & (rows["split"] == "train")]
        if found.empty:
            raise ValueError(
                f"{entry['miou']}: no row {entry['stage']}, train; the table needs masks of training images"
            )
        row = found.iloc[0]
        lines.append(
            {"table": entry["table"], "entry": entry["entry"], "published": entry["published"], "measured": row["miou"]}
            | {name: row[name] for name in ("threshold", "m_fn", "m_fp", "images")}
        )
    return pd.DataFrame(lines, columns=COLUMNS)


def plot_scales(figure: pd.DataFrame, path: Path) -> None:
    """m_FN and m_FP over the test scales, a line a method; the entries are named `{method} {scale}`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    titles = {"m_fn": "under-activation m_FN", "m_fp": "over-activation m_FP"}
    names = figure["entry"].str.split(" ", n=1, expand=True)
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for method in names[0].unique():
            chosen = names[0] == method
            axis.plot(names[1][chosen], figure[column][chosen], marker="o", label=method)
        axis.set(title=title, xlabel="test scale")
        axis.legend()
    write_atomically(path, lambda temporary: canvas.savefig(temporary, dpi=150, format="png"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", required=True, help="JSON list of table, entry, stage, published, miou")
    parser.add_argument("--table", type=Path, required=True, help="CSV to write")
    parser.add_argument("--figure", type=Path, required=True, help="CSV of the figure; the PNG lies beside it")
    parser.add_argument("--made-of", default="", help="digest of what it is made of, noted beside it")
    args = parser.parse_args()
    with plain_errors():
        frame = make_table(json.loads(args.entries))
    figure = frame[frame["table"].str.startswith("Figure")]
    rounded = {"index": False, "float_format": "%.4f", "lineterminator": "\n"}
    write_atomically(args.table, frame.drop(figure.index).to_csv(**rounded))
    write_atomically(args.figure, figure.drop(columns=["published"]).to_csv(**rounded))
    plot_scales(figure, args.figure.with_suffix(".png"))
    note(args.table, args.made_of)
    print(frame.drop(figure.index).to_string(index=False, float_format="%.2f", na_rep="-"), file=sys.stderr)


if __name__ == "__main__":
    main()
