"""Confident labels that supervise affinities: CRFs on a low and a high power background (AffinityNet §3.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset, read_image
from wsss.progress import Progress
from wsss.refine.crf import CRFParams, refine_scores_with_crf
from wsss.seeds import confident_labels, power_background
from wsss.stages.common import shard_arguments, stage_parser, stage_session
from wsss.store import LabelWriter, ScoreMap, open_scores


def affinity_label(image: np.ndarray, cams: ScoreMap, settings: schema.AffinityLabels, crf: CRFParams) -> np.ndarray:
    """(H, W) uint8: class ids where both CRFs leave no doubt, 255 elsewhere."""
    scores = torch.from_numpy(cams.scores)
    labels = []
    for alpha in (settings.low_alpha, settings.high_alpha):
        background = power_background(scores, alpha)
        both = torch.cat([background[None], scores]).numpy()
        label, _ = refine_scores_with_crf(image, [0, *cams.classes.tolist()], both, crf, settings.crf.backend)
        labels.append(torch.from_numpy(label))
    return confident_labels(*labels).to(torch.uint8).numpy()


def make_affinity_labels(
    settings: schema.AffinityLabels,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    split: str,
    shard: int,
    of: int,
) -> None:
    """Writes the confident labels of shard `shard` of `of` to `file`."""
    crf = CRFParams(**settings.crf.model_dump(exclude={"backend"}))
    records = dataset.split(split)[shard::of]
    progress = Progress(len(records), "images")
    writer = LabelWriter(file, class_names=dataset.class_names, palette=dataset.palette)
    with open_scores(scores) as cams, writer as out:
        for record in records:
            label = affinity_label(read_image(record.image), cams[record.image_id], settings, crf)
            out.add(record.image_id, label)
            progress.update()


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    args = parser.parse_args()
    with stage_session("make_affinity_labels", args):
        settings = load_section(schema.AffinityLabels, args.config)
        place = {"split": args.split, "shard": args.shard, "of": args.of}
        make_affinity_labels(settings, Dataset(args.data), args.scores, args.file, **place)


if __name__ == "__main__":
    main()
