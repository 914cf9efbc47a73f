"""Prints a run's table: `wsss show results/shapes`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsss.config.hints import lacking
from wsss.report.precision import precision_line
from wsss.runtime.ending import plain_ending
from wsss.runtime.records import read_record, read_table, require_keys
from wsss.runtime.targets import a_path

_COLUMNS = {
    "stage": "stage",
    "split": "split",
    "threshold": "threshold",
    "miou": "mIoU %",
    "m_fn": "m_FN",
    "m_fp": "m_FP",
    "pixel_accuracy": "pixels %",
    "images": "images",
}
_OUTPUTS = {
    "make_pseudo_labels": "pseudo-labels (train.h5)",
    "corrections": "the same with your corrections (train.h5)",
    "train_segmentation": "the trained model (model.safetensors)",
    "segment": "its predictions (val.h5)",
    "evaluate": "threshold curves, per-class confusion",
    "report.html": "open it in a browser: tables, curves and every stage's masks",
}


def show(run: Path, console: Console) -> None:
    """Prints `miou.csv`, the paths of the outputs and, last, the share of the upper bound.

    Raises:
        ValueError: the run has no table yet.
    """
    if not (run / "miou.csv").is_file():
        raise ValueError(lacking(run, "no miou.csv there"))
    frame = read_table(run / "miou.csv", *_COLUMNS, "threshold_source")
    share, precision = _share(run), precision_line(run)  # before anything is printed
    say = partial(console.print, highlight=False, markup=False)
    if frame.empty:
        say(f"{run}/miou.csv has no rows: there are no masks to measure with")
    else:
        console.print(_table(f"{run}/miou.csv", frame))
    if precision:
        say(precision)
    for name, content in _OUTPUTS.items():
        if (run / name).exists():
            say(f"{run / name}: {content}")
    if share is not None:
        console.print(f"Image labels alone reach {share:.1f} % of the mIoU that full masks give the same network.")


def _table(title: str, frame: pd.DataFrame) -> Table:
    """The columns of `_COLUMNS`, one line per row of miou.csv."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in _COLUMNS.values():
        text = name in ("stage", "split")
        table.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=text)
    for _, row in frame.iterrows():
        table.add_row(*(Text(_text(row, name)) for name in _COLUMNS))
    return table


def _share(run: Path) -> float | None:
    """The share of the upper bound in percent, if it was measured."""
    path = run / "evaluate" / "summary.json"
    summary = read_record(path)
    if "share_of_upper_bound" not in summary:
        return None
    return require_keys(path, summary, share_of_upper_bound=(int, float))["share_of_upper_bound"]


def _text(row: pd.Series, name: str) -> str:
    value = row[name]
    if pd.isna(value):
        return ""
    if name == "threshold":
        return f"{value:.2f} ({row['threshold_source']})"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=a_path, help="folder of the run, e.g. results/shapes")
    run = parser.parse_args().run
    with plain_ending("show"):
        show(run, Console())


if __name__ == "__main__":
    main()
