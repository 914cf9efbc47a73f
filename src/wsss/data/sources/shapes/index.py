"""The generated data set as a table."""

from __future__ import annotations

from pathlib import Path

from wsss.data.checks import Preflight
from wsss.data.sources.base import Index
from wsss.data.sources.shapes.images import write_shapes
from wsss.data.sources.shapes.settings import Settings
from wsss.data.sources.voc.index import voc_index
from wsss.runtime.progress import counter


def read(settings: Settings, out: Path, workers: int, preflight: Preflight) -> Index:
    """Draws the images and masks to `out/images`, in VOC's layout."""
    root = out / "images"
    counts = {"train": settings.train, "val": settings.val}
    write_shapes(root, **counts, rng_seed=settings.rng_seed, workers=workers, progress=counter("images"))
    lists = {"train_list": "train", "val_list": "val", "labels": str(root / "labels.csv")}
    names, palette, rows = voc_index(root, **lists, preflight=preflight)
    for row in rows:
        row["image"], row["mask"] = (str(Path(row[key]).relative_to(out)) for key in ("image", "mask"))
    return Index(names, palette, rows)
