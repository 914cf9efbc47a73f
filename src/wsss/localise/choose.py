"""Choice of the background score of score maps (docs/thresholds.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wsss.config.stages import ChooseThreshold
from wsss.data.dataset import Dataset, Record
from wsss.localise.thresholds import CELLS, add_best_scores, minimum_cross_entropy
from wsss.measure.bootstrap import resampled
from wsss.measure.evaluation import measured_records, threshold_curve
from wsss.measure.iou import THRESHOLDS, score
from wsss.measure.scoremaps import relative
from wsss.runtime.progress import Progress, log
from wsss.store.maps import BACKGROUND_POWER, ScoreStore, open_scores

FEW = 30
"""Number of masks below which a warning says that the best threshold is uncertain."""
OWN_BALANCE = 0.5
"""Threshold of relative scores that leaves refined maps unchanged."""
_DRAWS = 200
_DOUBT = 0.5
"""A threshold counts as good as the best within so many standard errors of the difference (docs/thresholds.md)."""


@dataclass(frozen=True)
class Choice:
    """A background score in [0, 1], its origin, and the curve that it was chosen from.

    source: `masks`, `oracle`, `auto` or `fixed`. masks: number of masks used. curve: with masks, columns threshold,
    miou, miou_low and miou_high (percent); without, threshold and share (percentage of pixels above it); None for
    `fixed`.
    """

    threshold: float
    source: str
    masks: int = 0
    curve: pd.DataFrame | None = None


def choose_threshold(settings: ChooseThreshold, dataset: Dataset, scores: Path, workers: int = 1) -> Choice:
    """The background score that the policy chooses for maps of the training images.

    scores: file of CAMs, or of maps with a background map, whose shares (`relative`) are thresholded.

    Raises:
        ValueError: the policy needs masks and there are none.
    """
    if settings.policy == "fixed":
        return Choice(settings.value, "fixed")
    if settings.policy == "oracle":
        return choose_oracle(dataset, scores, workers, settings.highest)
    if settings.policy == "masks" and measured_records(dataset, "train"):
        return choose_by_masks(dataset, scores, workers)
    return choose_auto(dataset, scores)


def choose_oracle(dataset: Dataset, file: Path, workers: int = 1, highest: float = 0.59) -> Choice:
    """The threshold in [0, highest] with the best mIoU on the training masks, whatever their number.

    Raises:
        ValueError: there are no masks.
    """
    curve, _, count = _curve(dataset, file, workers)
    allowed = np.flatnonzero(highest + 1e-9 >= THRESHOLDS)
    best = int(curve["miou"][allowed].argmax())
    if curve["miou"].argmax() > allowed[-1]:
        log.warning("the best is above %.2f, where oracle ends; policy masks looks at all", highest)
    return _chosen(best, "oracle", count, curve)


def choose_by_masks(dataset: Dataset, file: Path, workers: int = 1) -> Choice:
    """The threshold nearest to `choose_auto`'s among those as good as the best on the training masks.

    As good: in the bootstrap over images, the mean difference of mIoU is within half of its standard error. Few masks
    thus move the choice little, and many determine it.
    """
    curve, drawn, count = _curve(dataset, file, workers)
    without = choose_auto(dataset, file).threshold
    best = int(drawn.mean(0).argmax())
    behind = drawn[:, [best]] - drawn
    as_good = np.flatnonzero(behind.mean(0) <= _DOUBT * behind.std(0) + 1e-9)
    nearest = int(as_good[np.abs(THRESHOLDS[as_good] - without).argmin()])
    low, high = np.percentile(THRESHOLDS[drawn.argmax(1)], [2.5, 97.5])
    log.info(
        "best on %d masks: %.2f, likely %.2f to %.2f; without masks %.2f",
        count,
        *THRESHOLDS[[best]],
        low,
        high,
        without,
    )
    return _chosen(nearest, "masks", count, curve)


def _curve(dataset: Dataset, file: Path, workers: int) -> tuple[pd.DataFrame, np.ndarray, int]:
    """(curve, bootstrap draws, number of masks) on the training masks.

    Curve: mIoU and its interval in percent at each of THRESHOLDS. Draws: mIoU (n, T) in [0, 1] of resampled images.
    """
    count = len(measured_records(dataset, "train"))
    if not count:
        raise ValueError(
            f"data set '{dataset.name}' has no masks in split 'train' to choose a threshold with; "
            "set choose_threshold to auto, or to a number such as 0.25"
        )
    matrices, groups = threshold_curve(dataset, file, "train", Progress(count, "images"), workers)
    drawn = resampled(groups, _DRAWS)
    low, high = 100 * np.percentile(drawn, [2.5, 97.5], axis=0)
    mious = [100 * score(matrix).miou for matrix in matrices]
    columns = {"threshold": THRESHOLDS, "miou": mious, "miou_low": low, "miou_high": high}
    return pd.DataFrame(columns), drawn, count


def _chosen(place: int, source: str, masks: int, curve: pd.DataFrame) -> Choice:
    log.info("threshold %.2f, mIoU %.2f %% on %d training masks", THRESHOLDS[place], curve["miou"][place], masks)
    if masks < FEW:
        log.warning("%d masks are few to choose by; auto uses every image and no mask", masks)
    return Choice(float(THRESHOLDS[place]), source, masks, curve)


def choose_auto(dataset: Dataset, file: Path) -> Choice:
    """The minimum cross entropy threshold of the training images' scores, rounded to 0.01; it uses no masks.

    Where the background map is a power of the scores, it is weighted so that it begins at their threshold. Any other
    background map is left as it is, as no criterion without masks is better (docs/thresholds.md).
    """
    records = [record for record in dataset.split("train") if len(record.classes)]
    with open_scores(file) as store:
        own = len(records) > 0 and 0 in store[records[0].image_id].classes
        power = store.attributes.get(BACKGROUND_POWER)
        shares, scores = _histograms(store, records, own_scores=power is not None)
    best = OWN_BALANCE if own and power is None else minimum_cross_entropy(scores)
    if power is not None:
        best /= best + (1 - best) ** float(power)
    chosen = min(round(best, 2), float(THRESHOLDS[-1]))
    above = 100 * shares[::-1].cumsum()[::-1] / max(1, shares.sum())
    share = above[np.rint(THRESHOLDS * CELLS).astype(int)]
    log.info("threshold %.2f, without masks; it makes %.0f %% foreground", chosen, share[round(100 * chosen)])
    return Choice(chosen, "auto", curve=pd.DataFrame({"threshold": THRESHOLDS, "share": share}))


def _histograms(store: ScoreStore, records: Sequence[Record], *, own_scores: bool) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of each pixel's highest share (`relative`) and highest score of a class.

    own_scores: the two differ, as the maps have a background map.
    """
    shares = np.zeros(CELLS, np.int64)
    scores = np.zeros(CELLS, np.int64) if own_scores else shares
    progress = Progress(len(records), "images")
    for record in records:
        found = store[record.image_id]
        add_best_scores(shares, relative(found).scores)
        if own_scores:
            add_best_scores(scores, found.scores[found.classes > 0])
        progress.update()
    return shares, scores
