"""A paper's table as measured by runs, with the published numbers, and its figure over test scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from wsss.runtime.files import write_atomically
from wsss.runtime.records import read_table

COLUMNS = ["table", "entry", "published", "measured", "threshold", "m_fn", "m_fp", "images"]


def make_table(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One line per entry. entries: table, entry, stage, published, and miou, the path of the run's miou.csv.

    Raises:
        ValueError: a run does not have the row, because its data set has no masks.
    """
    lines = []
    for entry in entries:
        rows = read_table(Path(entry["miou"]), "stage", "split", "miou", "threshold", "m_fn", "m_fp", "images")
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
    """Draws m_FN and m_FP over the test scales, one line per method; entries are named `{method} {scale}`."""
    canvas = Figure(figsize=(8, 3), layout="constrained")
    axes = canvas.subplots(1, 2)
    titles = {"m_fn": "under-activation m_FN", "m_fp": "over-activation m_FP"}
    names = figure["entry"].str.split(" ", n=1, expand=True)
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for method in names[0].unique():
            chosen = names[0] == method
            axis.plot(names[1][chosen], figure[column][chosen], marker="o", label=method)
        axis.set(title=title, xlabel="test scale")
        axis.legend()
    write_atomically(path, lambda temporary: canvas.savefig(temporary, dpi=150, format="png"))
