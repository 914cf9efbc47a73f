"""The page that compares runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsss.report.charts import LineChart, line_chart
from wsss.report.curves import smoothed
from wsss.report.gallery import Gallery, View, build_gallery
from wsss.report.page import render
from wsss.report.run import FEW, RunResults, is_bound, title
from wsss.runtime.progress import rough_duration

_SECTIONS = {
    "stages": "Stages",
    "settings": "Settings",
    "gallery": "Images",
    "curves": "Curves",
    "classes-1": "Classes",
}


def compare_page(runs: Sequence[RunResults], threads: int = 1) -> str:
    """The HTML page that compares runs."""
    measured = [_measured(run) for run in runs]
    stages = _stages(measured)
    gallery, left_out = comparison_gallery(runs, threads)
    charts = _threshold_charts(runs) + _loss_charts(runs)
    tables, differences = _class_tables(runs, stages), setting_differences(runs)
    shown = {"settings": differences, "curves": charts, "classes-1": tables}
    return render(
        "compare.html",
        gallery,
        names=[run.name for run in runs],
        sections=[(id, name) for id, name in _SECTIONS.items() if shown.get(id, True)],
        stages=stages,
        runs=[_row(run, found, stages) for run, found in zip(runs, measured, strict=True)],
        few=FEW,
        fewest=min((row.images for found in measured for row in found.values()), default=FEW),
        differences=differences,
        charts=charts,
        class_tables=tables,
        left_out=left_out,
    )


class Measured(NamedTuple):
    """A mIoU in percent, and the number of images that it is measured on."""

    miou: float
    images: int


Table = dict[tuple[str, str], Measured]
"""A run's rows by stage and split."""


def _measured(run: RunResults) -> Table:
    return {(row.stage, row.split): Measured(row.miou, int(row.images)) for row in run.table.itertuples()}


def _stages(measured: Sequence[Table]) -> list[dict[str, Any]]:
    """The columns: every (stage, split) that any run has, with the best mIoU."""
    keys = dict.fromkeys(key for found in measured for key in found)
    return [
        {
            "key": key,
            "title": title(key[0]),
            "split": key[1],
            "bound": is_bound(key[0]),
            "best": max(found[key].miou for found in measured if key in found),
        }
        for key in keys
    ]


def _row(run: RunResults, measured: Table, stages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = sum(step.seconds for step in run.steps.values())
    count = len(run.dataset.records)
    return {
        "name": run.name,
        "data": f"{run.dataset.name}, {count} images",
        "measured": [measured.get(stage["key"]) for stage in stages],
        "seconds": seconds,
        "time": rough_duration(seconds),
    }


def setting_differences(runs: Sequence[RunResults]) -> list[tuple[str, list[str]]]:
    """Settings whose values differ between runs: name, and each run's value.

    A step that some run does not have is one row, with a summary of its settings in the other runs.
    """
    steps = [{s.label: s for s in run.steps.values() if s.stage != "evaluate"} for run in runs]
    table: list[tuple[str, list[str]]] = []
    for label in dict.fromkeys(label for own in steps for label in own):
        found = [own.get(label) for own in steps]
        if None in found:
            table.append((label, ["not run" if step is None else step.words or "run" for step in found]))
            continue
        flat = [_flat(label, step.config) for step in found]
        names = dict.fromkeys(name for settings in flat for name in settings)
        table += [(name, [settings.get(name, "–") for settings in flat]) for name in names]
    return [(name, values) for name, values in table if len(set(values)) > 1]


def _flat(prefix: str, value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _flat(f"{prefix}.{name}", inner).items()}
    return {prefix: "null" if value is None else str(value)}


def comparison_gallery(runs: Sequence[RunResults], threads: int) -> tuple[Gallery, list[str]]:
    """The final maps and the CAMs of all runs on the first run's data, and the names of runs on other data."""
    first = runs[0].dataset
    ids = {record.image_id for record in first.records}

    def same(run: RunResults) -> bool:
        other = {record.image_id for record in run.dataset.records}
        return run.dataset.class_names == first.class_names and bool(ids & other)

    views = [view for run in runs if same(run) for view in _views(run)]
    return build_gallery(first, views, threads), [run.name for run in runs if not same(run)]


def _views(run: RunResults) -> list[View]:
    """A run's CAMs and its final maps."""
    chosen: dict[str, dict[str, tuple[Path, float | None]]] = {"CAM": {}, "result": {}}
    for layer in run.layers:
        if layer.name == "cam":
            chosen["CAM"][layer.split] = (layer.file, layer.threshold)
        if layer.name == run.final(layer.split):
            chosen["result"][layer.split] = (layer.file, layer.threshold)
    return [View(f"{run.name} · {name}", files, name == "result") for name, files in chosen.items() if files]


def _threshold_charts(runs: Sequence[RunResults]) -> list[LineChart]:
    """mIoU over the background score for each split, with a line for each run."""
    made = []
    keys = dict.fromkeys((stage, split) for run in runs for stage, split in run.curves[["stage", "split"]].values)
    for stage, split in keys:
        series = {}
        for run in runs:
            curve = run.curves[(run.curves["stage"] == stage) & (run.curves["split"] == split)]
            if len(curve):
                series[run.name] = (curve["threshold"], curve["miou"])
        name = f"{title(stage)} over the background score, {split}"
        made.append(line_chart(name, "background score", "mIoU %", series))
    return made


def _loss_charts(runs: Sequence[RunResults]) -> list[LineChart]:
    """The losses of each network, with a line for each run."""
    made = []
    for label in ("train_classifier", "train_affinity", "train_segmentation"):
        series = {}
        for run in runs:
            history = run.steps[label].history if label in run.steps else None
            if history is not None and len(history):
                losses = history.drop(columns=["step", "lr"]).sum(axis=1)
                series[run.name] = (100 * history["step"] / len(history), smoothed(losses))
        if series:
            made.append(line_chart(f"Loss, {label}", "% of the training run", "sum of losses", series))
    return made


def _class_tables(runs: Sequence[RunResults], stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each column that is the final result of some run: every class's IoU in every run."""
    finals = {(run.final(split), split) for run in runs for split in ("train", "val")}
    names = list(dict.fromkeys(name for run in runs for name in run.dataset.class_names))
    tables = []
    for stage in stages:
        if stage["key"] not in finals:
            continue
        rows = [{(r["stage"], r["split"]): r for _, r in run.table.iterrows()}.get(stage["key"]) for run in runs]
        tables.append(
            {
                "title": f"{stage['title']}, {stage['split']}",
                "split": stage["split"],
                "runs": [run.name for run in runs],
                "rows": [
                    (name, [None if r is None or f"iou_{name}" not in r else r[f"iou_{name}"] for r in rows])
                    for name in names
                ],
            }
        )
    return tables
