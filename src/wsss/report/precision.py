"""Mean average precision of a run's classifier."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from wsss.runtime.records import read_table


def mean_average_precision(run: Path) -> float | None:
    """Mean average precision of the run's classifier on val, in percent; None if it was not measured."""
    file = run / "train_classifier" / "average_precision.csv"
    if not file.is_file():
        return None
    mean = read_table(file, "class", "average_precision").set_index("class")["average_precision"].get("mean")
    return None if mean is None or pd.isna(mean) else float(mean)
