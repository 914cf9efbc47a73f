"""Content of a run's report page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from wsss.report.charts import heatmap
from wsss.report.curves import charts
from wsss.report.gallery import View, build_gallery
from wsss.report.page import render
from wsss.report.palette import bright_palette
from wsss.report.precision import average_precisions
from wsss.report.run import FEW, RunResults, StepResults, is_bound, title
from wsss.runtime.progress import duration, number_of, rough_duration
from wsss.runtime.records import read_record, read_table, require_keys

_SECTIONS = {
    "summary": "Summary",
    "stages": "Stages",
    "gallery": "Images",
    "curves": "Curves",
    "check": "Check",
    "classes": "Classes",
    "confusion": "Confusion",
    "steps": "Steps",
}


def report_page(run: RunResults, threads: int = 1) -> str:
    """The HTML of a run's report."""
    rows = table_rows(run)
    gallery = build_gallery(run.dataset, gallery_views(run), threads)
    headline = next((row["key"] for row in rows if row["headline"]), "")
    checks = class_checks(run)
    left_out = (set() if rows else {"classes", "confusion"}) | (set() if checks else {"check"})
    return render(
        "report.html",
        gallery,
        run=run,
        sections=[(id, name) for id, name in _SECTIONS.items() if id not in left_out],
        intro=intro(run),
        cards=cards(run, rows),
        rows=rows,
        sources={row["source"] for row in rows},
        checks=checks,
        few=FEW,
        measured=_measured(rows),
        charts=charts(run, rows),
        class_names=run.dataset.class_names,
        colours=[f"rgb({r},{g},{b})" for r, g, b in bright_palette(len(run.dataset.class_names)).tolist()],
        heatmaps=_heatmaps(run),
        headline=headline,
        steps=[_step(step) for step in run.steps.values()],
        versions=_versions(run),
    )


def _measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Split → number of images that its rows are measured on, e.g. `20`, or `18 to 20` where some were corrected."""
    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(row["split"], set()).add(row["images"])
    return {split: " to ".join(map(str, sorted({min(n), max(n)}))) for split, n in found.items()}


_CHECKED = ("class", "images", "found", "agreement", "area_median", "hint")


def class_checks(run: RunResults) -> list[dict[str, Any]]:
    """Hints on each class without masks, from the quality table and the classifier's average precision."""
    sheet = run.folder / "quality" / "quality.csv"
    if not os.path.lexists(sheet):
        return []
    scores = average_precisions(run.folder)
    found = []
    for row in read_table(sheet, *_CHECKED).to_dict("records"):
        known = {key: None if pd.isna(value) else value for key, value in row.items()}
        found.append(known | {"precision": scores.get(row["class"])})
    return found


def gallery_views(run: RunResults) -> list[View]:
    """The run's maps, one view for each stage of the table."""
    finals = {run.final(layer.split) for layer in run.layers}
    files: dict[str, dict[str, tuple[Path, float | None]]] = {}
    for layer in run.layers:
        files.setdefault(layer.name, {})[layer.split] = (layer.file, layer.threshold)
    return [View(title(name), splits, name in finals) for name, splits in files.items()]


def table_rows(run: RunResults) -> list[dict[str, Any]]:
    """The rows of miou.csv with the page's additional columns."""
    names = run.dataset.class_names
    rows = []
    for _, row in run.table.iterrows():
        key = f"{row['stage']}-{row['split']}"
        rows.append(
            {
                "key": key,
                "title": title(row["stage"]),
                "split": row["split"],
                "miou": row["miou"],
                "m_fn": None if pd.isna(row["m_fn"]) else row["m_fn"],
                "m_fp": None if pd.isna(row["m_fp"]) else row["m_fp"],
                "pixel_accuracy": row["pixel_accuracy"],
                "images": int(row["images"]),
                "interval": interval_of(row),
                "threshold": None if pd.isna(row["threshold"]) else row["threshold"],
                "source": None if pd.isna(row["threshold"]) else row["threshold_source"],
                "bound": is_bound(row["stage"]),
                "final": row["stage"] == run.final(row["split"]),
                "headline": False,
                "published": run.published.get(key),
                "ious": [row[f"iou_{name}"] for name in names],
            }
        )
    finals = [row for row in rows if row["final"]]
    if finals:
        finals[-1]["headline"] = True
    return rows


def interval_of(row: Mapping[str, Any]) -> str:
    """The bootstrap interval of a row's mIoU, e.g. `49.6 to 53.1`; empty if unknown."""
    low, high = row.get("miou_low"), row.get("miou_high")
    return "" if low is None or pd.isna(low) or pd.isna(high) else f"{low:.1f} to {high:.1f}"


def intro(run: RunResults) -> str:
    """The run in two sentences."""
    dataset = run.dataset
    counts = {split: len(dataset.split(split)) for split in ("train", "val")}
    classes = number_of(len(dataset.class_names) - 1, "class", "classes")
    stages = [f"activation maps ({_method_name(run)})"]
    if "refine_cam" in run.steps:
        refinement = run.steps["refine_cam"]
        stages.append(f"refinement ({refinement.words or refinement.config.get('method', '')})")
    stages.append("pseudo-labels")
    if "train_segmentation" in run.steps:
        architecture = run.steps["train_segmentation"].config.get("architecture", "segmentation network")
        stages.append(f"{architecture} trained on them")
    return (
        f"From image-level labels to pixel masks on “{dataset.name}”: {counts['train']} training and {counts['val']} "
        f"validation images of {classes}. Stages: {', '.join(stages)}."
    )


def _method_name(run: RunResults) -> str:
    classifier = require_keys(run.folder / "run.json", run.steps, train_classifier=StepResults)["train_classifier"]
    where = classifier.folder / "config.yaml"
    method = require_keys(where, classifier.config, method=dict)["method"]
    return require_keys(where, method, name=str)["name"]


def cards(run: RunResults, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The numbers at the top."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row["final"] or (row["bound"] and row is [r for r in rows if r["bound"]][-1]):
            published = row["published"]
            paper = f"; {published['miou']:.1f} published" if published else ""
            likely = f"; {row['interval']} likely" if row["interval"] else ""
            note = f"mIoU on {row['images']} {row['split']} images{likely}{paper}"
            few = row["images"] < FEW
            found.append({"name": row["title"], "value": f"{row['miou']:.1f}", "unit": "%", "note": note, "few": few})
    share = read_record(run.evaluation.folder / "summary.json").get("share_of_upper_bound")
    if share is not None:
        found.append(
            {
                "name": "Reached",
                "value": f"{share:.1f}",
                "unit": "%",
                "note": "of full supervision's mIoU",
                "few": False,
            }
        )
    seconds = sum(step.seconds for step in run.steps.values())
    value, unit = rough_duration(seconds).split(" ", 1)
    note = f"computing time of {len(run.steps)} steps on {', '.join(_devices(run.steps.values()))}"
    found.append({"name": "Time", "value": value, "unit": unit, "note": note, "few": False})
    return found


def _heatmaps(run: RunResults) -> list[Any]:
    names = run.dataset.class_names
    found = []
    for key, matrix in run.confusions.items():
        stage, split = key.rsplit("-", 1)
        found.append(heatmap(key, f"{title(stage)}, {split}", np.asarray(matrix), names))
    return found


def _step(step: StepResults) -> dict[str, Any]:
    jobs = step.jobs
    return {
        "label": step.label,
        "words": step.words,
        "yaml": yaml.safe_dump(step.config, sort_keys=False, allow_unicode=True),
        "device": ", ".join(_devices([step])),
        "jobs": len(jobs),
        "time": duration(step.seconds) if jobs else "",
    }


def _devices(steps: Any) -> list[str]:
    return list(dict.fromkeys(job["device"] for step in steps for job in step.jobs))


def _versions(run: RunResults) -> str:
    path = run.steps["train_classifier"].folder / "versions.json"
    if not path.is_file():
        return ""
    versions = read_record(path)
    return ", ".join(f"{name} {versions[name]}" for name in ("torch", "timm", "numpy", "python") if name in versions)
