"""Mean ± standard deviation over seeds, as Markdown: `python -m benchmarks.seeds results/seam-*`.

Runs whose names differ only in the number at their end are seeds of one setting and make one column.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pandas as pd


def over_seeds(runs: list[Path]) -> pd.DataFrame:
    """mIoU in percent, a row for each (stage, split), a column for each setting: `mean ± std` (of a sample).

    Raises:
        ValueError: a run has no miou.csv.
    """
    frames = []
    for run in runs:
        if not (run / "miou.csv").is_file():
            raise ValueError(f"{run}: no miou.csv there")
        setting = re.sub(r"[-_]?(seed)?\d+$", "", run.name)
        frames.append(pd.read_csv(run / "miou.csv").assign(setting=setting))
    found = pd.concat(frames).groupby(["stage", "split", "setting"], sort=False)["miou"]
    text = found.agg(mean_and_deviation)
    return text.unstack("setting").reindex(columns=list(dict.fromkeys(text.index.get_level_values("setting"))))


def mean_and_deviation(values: pd.Series) -> str:
    """`mean ± standard deviation` of a sample; a single value alone."""
    return f"{values.mean():.2f} ± {values.std():.2f}" if len(values) > 1 else f"{values.iloc[0]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="results/{run} of each seed of each setting")
    args = parser.parse_args()
    try:
        table = over_seeds(args.runs)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print("| row | split | " + " | ".join(table.columns) + " |")
    print("|---" * (2 + len(table.columns)) + "|")
    for (stage, split), row in table.iterrows():
        print(f"| {stage} | {split} | " + " | ".join(row.fillna("")) + " |")


if __name__ == "__main__":
    main()
