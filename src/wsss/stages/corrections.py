"""Replaces pseudo-labels by masks corrected by hand."""

from __future__ import annotations

import json
from pathlib import Path

from wsss.config.stages import Corrections
from wsss.data.corrections import read_corrections
from wsss.data.dataset import Dataset
from wsss.runtime.progress import Progress, log
from wsss.stages.common import stage_parser, stage_session
from wsss.store.maps import CORRECTED, open_labels
from wsss.store.writers import LabelWriter


def correct(settings: Corrections, dataset: Dataset, labels: Path, out: Path) -> None:
    """Writes `train.h5` to `out`: the corrected masks, and a byte copy of all other label maps of `labels`."""
    masks = read_corrections(settings, dataset)
    with open_labels(labels, dataset.class_names) as store:
        about = {"class_names": store.class_names, "palette": store.palette}
        attributes = store.attributes | {CORRECTED: json.dumps(list(masks))}
        progress = Progress(len(store), "images")
        with LabelWriter(out / "train.h5", **about, attributes=attributes) as writer:
            for image_id in store:
                if image_id in masks:
                    writer.add(image_id, masks[image_id])
                else:
                    writer.copy(image_id, store.record(image_id))
                progress.update()
    log.info("%d of %d pseudo-labels are corrected", len(masks), progress.total)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--labels", type=Path, required=True, help="train.h5 of make_pseudo_labels")
    args = parser.parse_args()
    with stage_session("corrections", args, Corrections, "data", "labels") as settings:
        correct(settings, Dataset(args.data), args.labels, args.out)


if __name__ == "__main__":
    main()
