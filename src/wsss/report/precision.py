"""Mean average precision of a run's classifier."""

from __future__ import annotations

import os
from pathlib import Path

from wsss.runtime.records import read_table


def average_precisions(run: Path) -> tuple[dict[str, float], float | None]:
    """Class → average precision of the run's classifier on val, and their mean, in percent; without those not measured.

    Raises:
        ValueError: the table is damaged.
    """
    file = run / "train_classifier" / "average_precision.csv"
    if not os.path.lexists(file):
        return {}, None
    rows = list(read_table(file, "class", "average_precision")[["class", "average_precision"]].itertuples(index=False))
    mean = rows.pop()[1] if rows and rows[-1][0] == "mean" else None  # a class before may have this name, too
    return {name: value for name, value in rows if value == value}, mean if mean == mean else None


def precision_line(run: Path) -> str:
    """A line on the mean average precision of the run's classifier; empty if it was not measured."""
    _, mean = average_precisions(run)
    if mean is None:
        return ""
    images = read_table(run / "train_classifier" / "average_precision.csv", "images")["images"].iloc[-1]
    return f"mean average precision of the classifier on the {images} images of val: {mean:.1f} %"
