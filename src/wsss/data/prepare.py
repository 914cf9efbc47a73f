"""Preparation of a data source as the table of `wsss.data.dataset`."""

from __future__ import annotations

from pathlib import Path

from wsss.data.cards import write_data_card
from wsss.data.checks import Preflight, check_rows
from wsss.data.dataset import write_index
from wsss.data.remarks import of_twins
from wsss.data.sources.base import Source
from wsss.runtime.progress import counter, log


def prepare_data(source: Source, out: Path, workers: int) -> None:
    """Writes `index.csv`, `dataset.json`, `data_card.md`, and the source's generated images and masks to `out`.

    Raises:
        ValueError: files cannot be used; `problems.csv` lists them all.
    """
    preflight = Preflight(out, getattr(source, "on_bad_image", "stop"), workers, counter("files checked"))
    names, palette, rows = source.load()(source, out, workers, preflight)
    remarks = [*check_rows(names, rows, source.where), *preflight.remarks(names, rows)]
    for remark in [*remarks, *of_twins(rows, preflight.digests)]:
        log.warning("%s", remark)
    write_data_card(out, source.about, names, rows)
    write_index(out, source.dataset, names, palette, rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val")}
    masks = sum(row["mask"] != "" for row in rows)
    log.info("%d classes, %s images, %d masks", len(names) - 1, counts, masks)
    about = source.about
    log.info("%s. %s %s", about.title, about.licence, " ".join(f"Cite: {text}" for text in about.citations))
