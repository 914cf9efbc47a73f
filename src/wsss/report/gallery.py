"""The gallery of a page: selection of images, their measurements, and their compressed maps.

Label maps are zlib streams of class ids, which the page colours, hatches and hides; scores are zlib streams of 6-bit
values on a coarse grid; images are WebP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsss.data.dataset import Dataset, Record, read_image, read_mask
from wsss.measure.iou import confusion
from wsss.measure.quality import agreement
from wsss.measure.scoremaps import two_highest, winner, with_background
from wsss.report.packing import LEVELS, fitted, packed_image, packed_labels, packed_scores
from wsss.report.palette import bright_palette
from wsss.runtime.progress import Progress
from wsss.store.maps import LabelStore, ScoreMap, ScoreStore, open_any

BYTES = 13_000_000
"""Largest size of a page's gallery in bytes of text."""
MOST_IMAGES = 1000
MOST_CANDIDATES = 3000
"""Number of images sampled evenly from larger data sets; those of up to MOST_IMAGES images are shown completely."""
EDGES = {250: 320, 500: 224, MOST_IMAGES: 160}
"""Number of images up to which → longest edge of images and label maps in pixels that fits the size."""
SAMPLE_EDGE = 224
"""The same of a sample of more images."""


@dataclass(frozen=True)
class View:
    """One kind of map of the gallery. files: split → (file, threshold of maps without background).

    final: images are sorted by its IoU.
    """

    title: str
    files: Mapping[str, tuple[Path, float | None]]
    final: bool = False


@dataclass
class Item:
    """An image of the gallery.

    ious: view → mean IoU over the classes in truth or map. uncertainty: 0 certain … 1 undecided. agreement: mean IoU of
    activation maps and final labels over the image's classes. missing: its classes that are not in the final labels.
    payload: the maps.
    """

    image_id: str
    split: str
    classes: list[int]
    ious: dict[int, float] = field(default_factory=dict)
    iou: float | None = None
    spread: float | None = None
    uncertainty: float | None = None
    agreement: float | None = None
    missing: list[int] = field(default_factory=list)
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        scores = sum(len(s["data"]) for s in self.payload["scores"].values())
        return len(self.payload["image"]) + sum(map(len, self.payload["labels"].values())) + scores + 300

    @property
    def badness(self) -> tuple[float, float]:
        """Sort key, the worst first: by IoU if known, else by agreement, else by uncertainty."""
        known = self.iou if self.iou is not None else self.agreement
        return (2.0 if known is None else known, -(self.uncertainty or 0.0))


@dataclass(frozen=True)
class Gallery:
    """Images of a page. candidates: number they were chosen from; total: size of the data set; edge: pixels."""

    views: Sequence[View]
    class_names: list[str]
    palette: list[list[int]]
    items: list[Item]
    candidates: int
    total: int
    edge: int

    def meta(self) -> dict[str, Any]:
        """Everything but the maps."""
        return {
            "views": [{"title": view.title, "final": view.final} for view in self.views],
            "classes": self.class_names,
            "palette": self.palette,
            "levels": LEVELS,
            "items": [
                {
                    "id": item.image_id,
                    "split": item.split,
                    "classes": item.classes,
                    "iou": _rounded(item.iou),
                    "spread": _rounded(item.spread),
                    "uncertainty": _rounded(item.uncertainty),
                    "agreement": _rounded(item.agreement),
                    "missing": item.missing,
                    "ious": {view: _rounded(iou) for view, iou in item.ious.items()},
                }
                for item in self.items
            ],
        }


def build_gallery(dataset: Dataset, views: Sequence[View], threads: int = 1, budget: int = BYTES) -> Gallery:
    """The gallery of a data set's images through `views`, worst image first, within `budget` bytes."""
    splits = {split for view in views for split in view.files}
    records = [record for record in dataset.records if record.split in splits]
    candidates = _candidates(records)
    edge = next((edge for count, edge in EDGES.items() if len(candidates) <= count), SAMPLE_EDGE)
    progress = Progress(len(candidates), "images")
    items = []
    with ExitStack() as stack, ThreadPoolExecutor(threads) as pool:
        stores = _open(views, stack)
        size = len(dataset.class_names)
        for item in pool.map(lambda record: _item(record, stores, views, size, edge), candidates):
            items.append(item)
            progress.update()
    chosen = choose(items, budget)
    palette = bright_palette(size).tolist()
    return Gallery(views, dataset.class_names, palette, chosen, len(candidates), len(records), edge)


def choose(items: Sequence[Item], budget: int) -> list[Item]:
    """All items if they fit; else the worst in half of the budget and an even sample of the others; worst first."""
    ordered = sorted(items, key=lambda item: item.badness)
    if len(ordered) <= MOST_IMAGES and sum(item.bytes for item in ordered) <= budget:
        return ordered
    worst = list(_within(ordered, budget // 2, MOST_IMAGES // 2))
    rest = ordered[len(worst) :]
    room = budget - sum(item.bytes for item in worst)
    count = min(MOST_IMAGES - len(worst), len(rest), room // max(item.bytes for item in ordered))
    spaced = [rest[i] for i in np.linspace(0, len(rest) - 1, count).astype(int)] if count else []
    return worst + spaced


def _within(items: Sequence[Item], budget: int, count: int) -> Iterator[Item]:
    for item in items[:count]:
        budget -= item.bytes
        if budget < 0:
            return
        yield item


def _candidates(records: Sequence[Record]) -> list[Record]:
    """All images of a small data set; else an even sample, of the images with masks in splits that have any."""
    if len(records) <= MOST_IMAGES:
        return list(records)
    found = []
    for split in dict.fromkeys(record.split for record in records):
        members = [record for record in records if record.split == split]
        found += [record for record in members if record.measured] or members
    if len(found) <= MOST_CANDIDATES:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, MOST_CANDIDATES).astype(int)]


Stores = dict[tuple[int, str], LabelStore | ScoreStore]


def _open(views: Sequence[View], stack: ExitStack) -> Stores:
    stores: Stores = {}
    for i, view in enumerate(views):
        for split, (file, _) in view.files.items():
            store = stores[i, split] = stack.enter_context(open_any(file))
            next(iter(store), None)  # opens the file before several threads use it
    return stores


def _item(record: Record, stores: Stores, views: Sequence[View], size: int, edge: int) -> Item:
    """Measures and packs one image."""
    image = read_image(record.image)
    truth = read_mask(record.mask) if record.mask else None
    item = Item(record.image_id, record.split, record.classes.tolist())
    item.payload = {"image": packed_image(image, edge), "labels": {}, "scores": {}}
    item.payload["height"], item.payload["width"] = fitted(image.shape[:2], edge)
    seed = final = None
    for i, view in enumerate(views):
        if record.split not in view.files or record.image_id not in stores[i, record.split]:
            continue
        found = stores[i, record.split][record.image_id]
        if isinstance(found, ScoreMap):
            item.payload["scores"][i] = packed_scores(found)
            label = _label_of(found, view.files[record.split][1], item)
            seed = label if seed is None else seed
        else:
            label = found
            item.payload["labels"][i] = packed_labels(found, edge)
        final = label if view.final and label is not None else final
        if truth is not None and label is not None:
            item.ious[i] = image_iou(truth, label, size)
    if truth is not None:
        item.payload["labels"]["truth"] = packed_labels(truth, edge)
    if final is not None:
        item.missing = [c for c in item.classes if not (final == c).any()]
        item.agreement = None if seed is None or seed is final else agreement(seed, final, item.classes)
    finals = [item.ious[i] for i, view in enumerate(views) if view.final and i in item.ious]
    if finals:
        item.iou, item.spread = float(np.mean(finals)), max(finals) - min(finals)
    return item


def _label_of(maps: ScoreMap, threshold: float | None, item: Item) -> np.ndarray | None:
    """The map's labels, if it has a background; sets the item's uncertainty."""
    if 0 not in maps.classes and threshold is None:
        return None
    whole = with_background(maps, threshold)
    item.uncertainty = uncertainty(whole.scores)
    return winner(whole)


def uncertainty(scores: np.ndarray) -> float:
    """Mean over pixels of the ratio of second-highest to highest score (k, H, W): 0 certain, 1 undecided."""
    if len(scores) < 2:
        return 0.0
    highest, second = two_highest(scores)
    return float((second / np.maximum(highest, 1e-6)).mean())


def image_iou(truth: np.ndarray, label: np.ndarray, size: int) -> float:
    """Mean IoU over the classes in the truth or the map of one image."""
    matrix = confusion(truth, label, size)
    right = np.diagonal(matrix)
    union = matrix.sum(1) + matrix[:, :-1].sum(0) - right
    return float((right[union > 0] / union[union > 0]).mean()) if union.any() else 1.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
