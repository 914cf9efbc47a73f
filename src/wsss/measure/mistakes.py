"""Probably wrong image labels, from a classifier's scores of held-out images.

Confident learning, one class against the rest (Northcutt et al., JAIR 70, 2021, section 3.1). A present label is
doubted if the held-out score is not above the mean score of the images without the class; an absent label is doubted
if the score is not below the mean of the images with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wsss.data.dataset import Record

FOLDS = 5
COLUMNS = ("image_id", "class", "labelled", "score", "usual", "hint")


def folds(count: int, rng_seed: int = 0) -> list[np.ndarray]:
    """Indices of `count` images in up to `FOLDS` random parts of equal size."""
    order = np.random.default_rng(rng_seed).permutation(count)
    return [np.sort(order[i::FOLDS]) for i in range(min(FOLDS, count))]


def label_mistakes(records: Sequence[Record], scores: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """One row per doubted label, the most doubtful first; columns as in `COLUMNS`.

    scores: (N, K), each from a classifier trained without that image. Column usual: mean score of the images with the
    label, for an absent label; of those without it, for a present one.
    """
    labels = np.stack([record.labels for record in records]) > 0
    rows = []
    for k, name in enumerate(class_names[1:]):
        own, column = labels[:, k], scores[:, k]
        if not 0 < own.sum() < len(own):
            continue
        with_it, without = float(column[own].mean()), float(column[~own].mean())
        for i in np.flatnonzero(np.where(own, column <= without, column >= with_it)):
            usual, hint = (without, "does not look like one") if own[i] else (with_it, "looks like one")
            rows.append((records[i].image_id, name, int(own[i]), float(column[i]), usual, hint))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    doubt = np.where(table["labelled"] == 1, 1 - table["score"], table["score"]) if len(table) else []
    return table.assign(doubt=doubt).sort_values(["doubt", "image_id"], ascending=[False, True]).drop(columns="doubt")
