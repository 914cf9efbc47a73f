"""Makes the table that every later stage sees: image ids, paths, image-level labels, splits, class names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from wsss.config import load_section
from wsss.data.dataset import write_index
from wsss.data.voc import voc_index
from wsss.progress import Progress, log
from wsss.schema import ShapesData, VOCData
from wsss.stages.common import stage_parser, stage_session


class SeededShapes(ShapesData):
    """Generated data also needs its seed."""

    rng_seed: int = 0


class _Source(RootModel):
    root: Annotated[SeededShapes | VOCData, Field(discriminator="dataset")]


def prepare_data(source: SeededShapes | VOCData, out: Path, workers: int) -> None:
    """Writes `out/index.csv` and `out/dataset.json`; generated images go to `out/images`."""
    if source.dataset == "shapes":
        from wsss.data.shapes import write_shapes

        root = out / "images"
        progress = Progress(source.train + source.val, "images")
        write_shapes(
            root,
            train=source.train,
            val=source.val,
            rng_seed=source.rng_seed,
            workers=workers,
            progress=lambda done, _total: progress.update(done - progress.done),
        )
        names, palette, rows = voc_index(root, train_list="train", val_list="val", labels=str(root / "labels.csv"))
        for row in rows:
            row["image"], row["mask"] = (str(Path(row[k]).relative_to(out)) for k in ("image", "mask"))
    else:
        names, palette, rows = voc_index(
            source.root,
            train_list=source.train_list,
            val_list=source.val_list,
            labels=source.labels,
            measure_list=source.measure_list,
        )
    write_index(out, source.dataset, names, palette, rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val")}
    masks = sum(row["mask"] != "" for row in rows)
    log.info("%d classes, %s images, %d masks", len(names) - 1, counts, masks)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    args = parser.parse_args()
    with stage_session("prepare_data", args):
        workers = min(args.threads, len(os.sched_getaffinity(0)))
        prepare_data(load_section(_Source, args.config).root, args.out, workers)


if __name__ == "__main__":
    main()
