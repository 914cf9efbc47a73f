"""Average precision of a run's classifier."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from wsss.runtime.records import read_table

_COLUMNS = ("class", "images", "average_precision")


def average_precisions(run: Path) -> dict[str, float]:
    """Class → average precision of the run's classifier on val, in percent; without those not measured.

    Raises:
        ValueError: the table is damaged.
    """
    classes, _ = _read(run)
    return dict(classes[["class", "average_precision"]].dropna().itertuples(index=False, name=None))


def precision_line(run: Path) -> str:
    """A line on the mean average precision of the run's classifier; empty if it was not measured."""
    _, mean = _read(run)
    if mean is None or pd.isna(mean["average_precision"]):
        return ""
    value, images = mean["average_precision"], mean["images"]
    return f"mean average precision of the classifier on the {images} images of val: {value:.1f} %"


def _read(run: Path) -> tuple[pd.DataFrame, pd.Series | None]:
    """The rows of the classes, and the row of their mean; none where nothing was measured."""
    file = run / "train_classifier" / "average_precision.csv"
    if not os.path.lexists(file):
        return pd.DataFrame(columns=_COLUMNS), None
    table = read_table(file, *_COLUMNS)
    if len(table) and table["class"].iloc[-1] == "mean":  # a class before may have this name, too
        return table[:-1], table.iloc[-1]
    return table, None
