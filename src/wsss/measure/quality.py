"""Tables of the classes and images to check by eye, made without masks.

`quality.csv`, one row per class:
    images          training images with the label
    found           % of them whose pseudo-label contains the class
    agreement       IoU % of the thresholded activation maps and the pseudo-labels, pooled over those images
    area_p10, area_median, area_p90
                    share of the image that the class covers in the pseudo-labels, %: 10th, 50th, 90th percentile
    hint            what to check, if anything
`images.csv`, one row per image, the most uncertain first:
    image_id, image the image and its file
    agreement       IoU % of the two label maps, averaged over the image's labels; a label not found counts 0
    unsure          % of the pixels whose best score is close to the threshold or to the second best class
    foreground      % of the pixels with a class in the pseudo-label
    missing         labels that are absent from the pseudo-label
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss.data.dataset import Dataset, Record
from wsss.measure.scoremaps import two_highest, winner, with_background
from wsss.runtime.files import write_csv
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import Progress, log
from wsss.store.maps import ScoreMap, open_labels, open_scores

CLOSE = 0.05
"""Scores that differ by less count as undecided."""
LOW_FOUND, LOW_AGREEMENT, ALL_OVER = 80.0, 30.0, 75.0
"""Percentages beyond which a class gets a hint."""


def quality(dataset: Dataset, scores: Path, labels: Path, threshold: float, out: Path) -> None:
    """Writes `quality.csv` and `images.csv` to `out`."""
    records, names = dataset.split("train"), dataset.class_names
    progress = Progress(len(records), "images")
    images, classes = [], []
    with open_scores(scores, names) as maps, open_labels(labels, names) as made:
        for record in records:
            image, present = measure(record, maps[record.image_id], made[record.image_id], threshold)
            images.append(image | {"missing": ";".join(dataset.class_names[c] for c in image["missing"])})
            classes += present
            progress.update()
    sheet = class_sheet(pd.DataFrame(classes, columns=_COUNTS), dataset.class_names)
    write_csv(sheet, out / "quality.csv", digits=2)
    table = pd.DataFrame(images).sort_values(["agreement", "unsure", "image_id"], ascending=[True, False, True])
    write_csv(table, out / "images.csv", digits=2)
    for row in sheet[sheet["hint"] != ""].itertuples():
        log.warning("class '%s': %s", row[1], row.hint)
    log.info("most uncertain: %s", ", ".join(table["image_id"].head(5)))


_COUNTS = ["class", "both", "either", "area", "found"]


def measure(
    record: Record, maps: ScoreMap, label: np.ndarray, threshold: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An image's row, and for each of its classes a row: pixels of seed ∧ label and of seed ∨ label, and area."""
    complete = with_background(maps, threshold)
    seed = winner(complete)
    present = []
    for c in record.classes.tolist():
        in_seed, in_label = seed == c, label == c
        both, either = int((in_seed & in_label).sum()), int((in_seed | in_label).sum())
        area = float(in_label.mean())
        present.append({"class": c, "both": both, "either": either, "area": area, "found": bool(area)})
    unsure = 0.0
    if len(complete.scores) > 1:
        highest, second = two_highest(complete.scores)
        unsure = float((highest - second < CLOSE).mean())
    row = {
        "image_id": record.image_id,
        "image": str(record.image),
        "agreement": 100 * agreement(seed, label, record.classes.tolist()),
        "unsure": 100 * unsure,
        "foreground": 100 * float(((label > 0) & (label != IGNORE)).mean()),
        "missing": [p["class"] for p in present if not p["found"]],
    }
    return row, present


def agreement(seed: np.ndarray, label: np.ndarray, classes: Sequence[int]) -> float:
    """Mean IoU of two label maps over an image's classes; 1 for an image without classes."""
    if not classes:
        return 1.0
    pairs = [(seed == c, label == c) for c in classes]
    return float(np.mean([(a & b).sum() / max(1, (a | b).sum()) for a, b in pairs]))


def class_sheet(counts: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """quality.csv from the rows of `measure`."""
    rows = []
    for c, name in enumerate(class_names[1:], start=1):
        own = counts[counts["class"] == c]
        area = 100 * own["area"].to_numpy(float)
        row = {
            "class": name,
            "images": len(own),
            "found": 100 * own["found"].mean() if len(own) else np.nan,
            "agreement": 100 * own["both"].sum() / max(1, own["either"].sum()) if len(own) else np.nan,
        }
        for label, share in (("area_p10", 10), ("area_median", 50), ("area_p90", 90)):
            row[label] = float(np.percentile(area, share)) if len(area) else np.nan
        rows.append(row | {"hint": _hint(row)})
    return pd.DataFrame(rows)


def _hint(row: dict[str, Any]) -> str:
    if row["images"] == 0:
        return "no training image has this label"
    if row["found"] < LOW_FOUND:
        return f"not found in {100 - row['found']:.0f} % of its images: wrong labels, or too few images to learn it"
    if row["area_median"] > ALL_OVER:
        return "fills the images: a scene more than an object, or its surroundings are taken for it"
    if row["agreement"] < LOW_AGREEMENT:
        return "activation maps and pseudo-labels disagree: look at its images first"
    return ""
