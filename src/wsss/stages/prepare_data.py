"""Makes the table that every later stage sees: image ids, paths, image-level labels, splits, class names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, RootModel

from wsss.config.data import COCOData, FolderData, ShapesData, VOCData
from wsss.config.loading import load_section
from wsss.data.cards import SOURCES, write_data_card
from wsss.data.checks import Preflight, check_rows
from wsss.data.dataset import write_index
from wsss.data.sources.voc.index import voc_index
from wsss.runtime.progress import Progress, log
from wsss.stages.common import stage_parser, stage_session

Index = tuple[list[str], np.ndarray, list[dict[str, str]]]


class SeededShapes(ShapesData):
    """Generated data also needs its seed."""

    rng_seed: int = 0


class DigestedFolder(FolderData):
    """Files that change under the same path are other data: their digest is part of the settings."""

    source_digest: str = ""


class _Source(RootModel):
    root: Annotated[SeededShapes | VOCData | COCOData | DigestedFolder, Field(discriminator="dataset")]


def prepare_data(source: SeededShapes | VOCData | COCOData | DigestedFolder, out: Path, workers: int) -> None:
    """Writes `index.csv`, `dataset.json`, `data_card.md` and whatever images and masks are made to `out`.

    Raises:
        ValueError: files cannot be used; `problems.csv` lists them all.
    """
    readers = {"shapes": _shapes, "voc": _voc, "coco": _coco, "folder": _folder}
    preflight = Preflight(out, getattr(source, "on_bad_image", "stop"), workers, _counter("files checked"))
    names, palette, rows = readers[source.dataset](source, out, workers, preflight)
    for remark in check_rows(names, rows):
        log.warning("%s", remark)
    write_data_card(out, source.dataset, names, rows)
    write_index(out, source.dataset, names, palette, rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val")}
    masks = sum(row["mask"] != "" for row in rows)
    log.info("%d classes, %s images, %d masks", len(names) - 1, counts, masks)
    about = SOURCES[source.dataset]
    log.info("%s. %s %s", about.title, about.licence, " ".join(f"Cite: {text}" for text in about.citations))


def _shapes(source: SeededShapes, out: Path, workers: int, preflight: Preflight) -> Index:
    from wsss.data.sources.shapes.images import write_shapes

    root = out / "images"
    write_shapes(
        root,
        train=source.train,
        val=source.val,
        rng_seed=source.rng_seed,
        workers=workers,
        progress=_counter(),
    )
    lists = {"train_list": "train", "val_list": "val", "labels": str(root / "labels.csv")}
    names, palette, rows = voc_index(root, **lists, preflight=preflight)
    for row in rows:
        row["image"], row["mask"] = (str(Path(row[k]).relative_to(out)) for k in ("image", "mask"))
    return names, palette, rows


def _voc(source: VOCData, _out: Path, _workers: int, preflight: Preflight) -> Index:
    from wsss.data.sources.voc.download import COUNTS, check_counts, get_voc

    if source.download:
        get_voc(source.root, source.mirrors)
    else:
        try:
            check_counts(source.root, {name: COUNTS[name] for name in COUNTS if name in _lists(source)})
        except ValueError as error:
            log.warning("%s; it is taken as it is", error)
    settings = source.model_dump(include={"train_list", "val_list", "labels", "measure_list"})
    return voc_index(source.root, **settings, preflight=preflight)


def _lists(source: VOCData) -> set[str | None]:
    return {source.train_list, source.val_list, source.measure_list}


def _coco(source: COCOData, out: Path, _workers: int, preflight: Preflight) -> Index:
    from wsss.data.sources.coco.index import coco_index

    settings = source.model_dump(exclude={"dataset", "on_bad_image"})
    return coco_index(**settings, out=out, done=_counter("masks"), preflight=preflight)


def _folder(source: DigestedFolder, out: Path, _workers: int, preflight: Preflight) -> Index:
    from wsss.data.sources.folder.index import folder_index

    settings = source.model_dump(exclude={"dataset", "source_digest", "on_bad_image"})
    return folder_index(**settings, out=out, preflight=preflight)


def _counter(unit: str = "images") -> Callable[[int, int], None]:
    """A callback (done, total) that shows progress."""
    shown: list[Progress] = []

    def update(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(total, unit))
        shown[0].update(done - shown[0].done)

    return update


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    args = parser.parse_args()
    with stage_session("prepare_data", args):
        workers = min(args.threads, len(os.sched_getaffinity(0)))
        prepare_data(load_section(_Source, args.config).root, args.out, workers)


if __name__ == "__main__":
    main()
