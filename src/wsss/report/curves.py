"""The charts of a run: choices of the background score, errors over stages, losses and learning rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from wsss.report.charts import LineChart, line_chart
from wsss.report.run import RunResults, StepResults, title
from wsss.runtime.records import read_record, read_table


def charts(run: RunResults, rows: list[dict[str, Any]]) -> list[LineChart]:
    """Threshold curves, m_FN and m_FP over stages, losses and learning rates."""
    made = choice_charts(run) + threshold_charts(run) + error_charts(rows)
    for step in run.steps.values():
        if step.history is not None and len(step.history):
            made += training_charts(step)
    return made


def error_charts(rows: list[dict[str, Any]]) -> list[LineChart]:
    """m_FN and m_FP over the stages of each split that has several."""
    made = []
    for split in dict.fromkeys(row["split"] for row in rows):
        stages = [row for row in rows if row["split"] == split]
        if len(stages) > 1:
            x = list(range(1, len(stages) + 1))
            series = {name: (x, [row[key] for row in stages]) for name, key in (("m_FN", "m_fn"), ("m_FP", "m_fp"))}
            names = {i: str(i) for i in x}
            order = ", ".join(f"{i} {row['title']}" for i, row in zip(x, stages, strict=True))
            chart = line_chart(f"Missed and surplus, {split}", "stage", "FN/TP, FP/TP", series, names=names)
            made.append(dataclasses.replace(chart, note=order))
    return made


_WEIGHED = {
    "miou": ("mIoU %", "mIoU"),
    "miou_low": ("mIoU %", "likely, lowest"),
    "miou_high": ("mIoU %", "likely, highest"),
    "share": ("% of the pixels", "above it, by any class"),
}


def choice_charts(run: RunResults) -> list[LineChart]:
    """The curves that background scores were chosen from: mIoU on masks with its interval, or of the maps alone."""
    made = []
    for step in run.steps.values():
        if step.stage != "choose_threshold" or not (step.folder / "curve.csv").is_file():
            continue
        curve = read_table(step.folder / "curve.csv", "threshold")
        chosen = read_record(step.folder / "threshold.json", threshold=(int, float), source=str)
        columns = [name for name in _WEIGHED if name in curve]
        at = curve.iloc[(curve["threshold"] - chosen["threshold"]).abs().argmin()]
        by = f"{chosen['masks']} masks" if chosen.get("masks") else "the maps alone"
        mark = (at["threshold"], at[columns[0]], f"chosen by {by} ({chosen['source']}): {chosen['threshold']:.2f}")
        series = {_WEIGHED[name][1]: (curve["threshold"], curve[name]) for name in columns}
        maps = "refined maps" if step.label != step.stage else "activation maps"
        made.append(line_chart(f"Choice of the background, {maps}", "score", _WEIGHED[columns[0]][0], series, mark))
    return made


def threshold_charts(run: RunResults) -> list[LineChart]:
    """mIoU over the background score, with the chosen point and the best one, for each split."""
    made = []
    for stage, split, curve, row in run.threshold_curves():
        mark = (row["threshold"], row["miou"], f"chosen: {row['threshold']:.2f}, mIoU {row['miou']:.1f} %")
        name = f"{title(stage)} over the background score, {split}"
        series = {"mIoU": (curve["threshold"], curve["miou"])}
        chart = line_chart(name, "background score", "mIoU %", series, mark)
        made.append(dataclasses.replace(chart, note=best_on_curve(curve, row)))
    return made


def best_on_curve(curve: pd.DataFrame, row: Mapping[str, Any]) -> str:
    """The threshold with the best mIoU on the row's masks, its gain, and whether it is at the end of the curve."""
    best = curve.loc[curve["miou"].idxmax()]
    gain = best["miou"] - row["miou"]
    edge = ", at the edge" if best["threshold"] in (curve["threshold"].min(), curve["threshold"].max()) else ""
    masks = f"{int(row['images'])} {row['split']} masks"
    if gain < 0.05:
        return f"the best on your {masks}{edge}"
    return f"best on your {masks}: {best['threshold']:.2f}, + {gain:.1f}{edge}"


def training_charts(step: StepResults) -> list[LineChart]:
    """Losses, smoothed a little, and the learning rate."""
    history = step.history
    losses = [name for name in history.columns if name not in ("step", "lr")]
    smooth = smoothed(history[losses])
    made = [line_chart(f"Loss, {step.label}", "step", "loss", {n: (history["step"], smooth[n]) for n in losses})]
    series = {"learning rate": (history["step"], history["lr"])}
    return [*made, line_chart(f"Learning rate, {step.label}", "step", "", series)]


def smoothed(losses: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    """Mean over the last fiftieth of the steps."""
    return losses.rolling(max(1, len(losses) // 50), min_periods=1).mean()
