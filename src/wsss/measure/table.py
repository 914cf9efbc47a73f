"""Evaluation of every result of a run: `miou.csv`, the threshold curves, and the share of the upper bound."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss.config.stages import Row
from wsss.data.dataset import Dataset
from wsss.measure.bootstrap import interval
from wsss.measure.evaluation import has_background, measured_records, pooled_confusion, threshold_curve
from wsss.measure.iou import THRESHOLDS, score
from wsss.runtime.files import write_atomically, write_csv
from wsss.runtime.progress import Progress, log
from wsss.store.maps import open_any


def evaluate(
    rows: Sequence[Row],
    dataset: Dataset,
    folders: dict[str, Path],
    threshold: dict[str, Any],
    out: Path,
    workers: int = 1,
) -> None:
    """Writes `miou.csv`, `curve.csv`, `confusion.npz` and `summary.json` to `out`.

    folders: `{stage}-{split}` → the folder that holds the row's file.
    threshold: content of threshold.json, for maps without a background map.

    Columns miou_low and miou_high of miou.csv: bootstrap interval (95 %) of the mIoU over images; empty for one image.
    """
    table, curves, matrices = [], [], {}
    progress = Progress(len(rows), "rows", rate_unit="rows")
    for row in rows:
        name = f"{row.stage}-{row.split}"
        file = folders[name] / row.file
        images = len(measured_records(dataset, row.split, file))
        if not images:
            log.info("%s is not measured: data set '%s' has no masks there", name, dataset.name)
        else:
            (matrix, groups), entry, curve = _measure(row, dataset, file, threshold, workers)
            table.append(entry | {"images": images} | _columns(matrix, groups, dataset))
            curves += curve
            matrices[name] = matrix
        progress.update()
    _write_table(table, dataset, out / "miou.csv")
    write_csv(
        pd.DataFrame(curves, columns=["stage", "split", "threshold", "miou", "m_fn", "m_fp"]),
        out / "curve.csv",
    )
    packed = io.BytesIO()
    np.savez_compressed(packed, **matrices)
    write_atomically(out / "confusion.npz", packed.getvalue())
    write_atomically(out / "summary.json", json.dumps(_summary(table), indent=1))


def _measure(
    row: Row, dataset: Dataset, file: Path, chosen: dict[str, Any], workers: int
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any], list[dict[str, Any]]]:
    """(Confusion matrix, counts of groups of images), first columns, and the curve if the maps need a threshold."""
    entry = {"stage": row.stage, "split": row.split, "threshold": None, "threshold_source": None}
    if has_background(file):
        with open_any(file) as store:
            made_with = store.attributes
        if "threshold" in made_with:
            entry |= {"threshold": float(made_with["threshold"]), "threshold_source": made_with["source"]}
        return pooled_confusion(dataset, file, row.split, workers=workers), entry, []
    matrices, groups = threshold_curve(dataset, file, row.split, workers=workers)
    entry |= {"threshold": chosen["threshold"], "threshold_source": chosen["source"]}
    scores = [score(matrix) for matrix in matrices]
    points = [
        {"stage": row.stage, "split": row.split, "threshold": round(float(t), 4), **_percent(s)}
        for t, s in zip(THRESHOLDS, scores, strict=True)
    ]
    on_curve = np.flatnonzero(np.isclose(THRESHOLDS, chosen["threshold"]))
    if on_curve.size:
        return (matrices[on_curve[0]], groups[:, on_curve[0]]), entry, points
    return pooled_confusion(dataset, file, row.split, chosen["threshold"], workers), entry, points


def _percent(scores: Any) -> dict[str, float]:
    return {"miou": 100 * scores.miou, "m_fn": scores.m_fn, "m_fp": scores.m_fp}


def _columns(matrix: np.ndarray, groups: np.ndarray, dataset: Dataset) -> dict[str, float | None]:
    scores = score(matrix)
    low, high = interval(groups) or (None, None)
    ious = {f"iou_{name}": 100 * iou for name, iou in zip(dataset.class_names, scores.iou, strict=True)}
    return _percent(scores) | {"pixel_accuracy": 100 * scores.pixel_accuracy, "miou_low": low, "miou_high": high} | ious


def _write_table(table: list[dict[str, Any]], dataset: Dataset, path: Path) -> None:
    leading = [
        "stage",
        "split",
        "threshold",
        "threshold_source",
        "miou",
        "m_fn",
        "m_fp",
        "pixel_accuracy",
        "images",
        "miou_low",
        "miou_high",
    ]
    columns = leading + [f"iou_{name}" for name in dataset.class_names]
    write_csv(pd.DataFrame(table, columns=columns), path)


def _summary(table: list[dict[str, Any]]) -> dict[str, float]:
    """Weakly supervised mIoU as a share of the fully supervised one, in percent, where both are known."""
    miou = {(entry["stage"], entry["split"]): entry["miou"] for entry in table}
    weak, full = miou.get(("segmentation", "val")), miou.get(("upper_bound", "val"))
    return {"share_of_upper_bound": round(100 * weak / full, 2)} if weak and full else {}
