"""Scores to labels: background, optional PAR and DenseCRF, the highest score wins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset, read_image
from wsss.progress import Progress
from wsss.refine.crf import CRFParams, refine_scores_with_crf
from wsss.refine.par import par
from wsss.scoremaps import winner, with_background
from wsss.stages.common import shard_arguments, stage_parser, stage_session
from wsss.store import LabelWriter, ScoreMap, open_scores


class Settings(schema.MakePseudoLabels):
    """The section of the configuration, and a fixed threshold for maps without background."""

    threshold: float | None = None


def pseudo_label(image: Path, scores: ScoreMap, refinement: schema.PAR | None, crf: schema.CRF | None) -> np.ndarray:
    """(H, W) uint8 class ids of maps that include the background; ties go to the lowest class."""
    if refinement is not None:
        scores = ScoreMap(scores.classes, refine_by_par(read_image(image), _shares(scores), refinement))
    if crf is None:
        return winner(scores)
    shares = _shares(scores)
    params = CRFParams(**crf.model_dump(exclude={"backend"}))
    label, _ = refine_scores_with_crf(read_image(image), scores.classes.tolist(), shares, params, crf.backend)
    return label.astype(np.uint8)


def refine_by_par(image: np.ndarray, shares: np.ndarray, settings: schema.PAR) -> np.ndarray:
    """Class shares (L, H, W) that follow the image (H, W, 3) uint8."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return par(pixels, torch.from_numpy(shares)[None], settings.dilations, settings.iterations)[0].numpy()


def _shares(scores: ScoreMap) -> np.ndarray:
    """(L, H, W) that sum to 1 at every pixel with any score."""
    return scores.scores / np.maximum(scores.scores.sum(0), 1e-5)


def make_pseudo_labels(
    settings: schema.MakePseudoLabels,
    threshold: dict[str, float | str] | None,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    split: str,
    shard: int,
    of: int,
) -> None:
    """Writes the labels of shard `shard` of `of` to `file`, which remembers the threshold.

    threshold: {"threshold": value, "source": oracle or fixed}; None if the maps have a background.
    """
    records = dataset.split(split)[shard::of]
    progress = Progress(len(records), "images")
    attributes = {name: str(value) for name, value in (threshold or {}).items()}
    writer = LabelWriter(file, class_names=dataset.class_names, palette=dataset.palette, attributes=attributes)
    value = threshold["threshold"] if threshold else None
    with open_scores(scores) as store, writer as out:
        for record in records:
            maps = with_background(store[record.image_id], value)
            out.add(record.image_id, pseudo_label(record.image, maps, settings.par, settings.crf))
            progress.update()


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--scores", type=Path, required=True, help="maps of the split")
    parser.add_argument("--threshold", type=Path, help="threshold.json of choose_threshold")
    args = parser.parse_args()
    with stage_session("make_pseudo_labels", args):
        settings = load_section(Settings, args.config)
        threshold = None
        if args.threshold:
            threshold = json.loads(args.threshold.read_text())
        elif settings.threshold is not None:
            threshold = {"threshold": settings.threshold, "source": "fixed"}
        place = {"split": args.split, "shard": args.shard, "of": args.of}
        make_pseudo_labels(settings, threshold, Dataset(args.data), args.scores, args.file, **place)


if __name__ == "__main__":
    main()
