"""Scores to labels: background, optional PAR and DenseCRF, the highest score wins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.dataset import Dataset
from wsss.localise.scoremaps import winner, with_background
from wsss.refine.crf.dense import CRFParams, crf_score_group
from wsss.refine.par import par
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, crf_device, shard_arguments, shard_of
from wsss.store.maps import LabelWriter, ScoreMap, open_scores


class Settings(schema.MakePseudoLabels):
    """The section of the configuration, and a fixed threshold for maps without background."""

    threshold: float | None = None


def pseudo_labels(
    images: Sequence[np.ndarray], maps: Sequence[ScoreMap], settings: schema.MakePseudoLabels, device: torch.device
) -> list[np.ndarray]:
    """(H, W) uint8 class ids of maps that include the background; ties go to the lowest class.

    images: (H, W, 3) uint8, of one size. device: of the CRF.
    """
    if settings.par is not None:
        shares = [refine_by_par(i, _shares(m), settings.par) for i, m in zip(images, maps, strict=True)]
        maps = [ScoreMap(m.classes, s) for m, s in zip(maps, shares, strict=True)]
    if settings.crf is None:
        return [winner(found) for found in maps]
    params = CRFParams(**settings.crf.model_dump(exclude={"backend"}))
    classes, shares = [m.classes.tolist() for m in maps], [_shares(m) for m in maps]
    labels = crf_score_group(images, classes, shares, params, settings.crf.backend, device)
    return [label.astype(np.uint8) for label in labels]


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
    shard: Shard,
    device: torch.device,
) -> None:
    """Writes the labels of `shard` to `file`, which remembers the threshold.

    threshold: {"threshold": value, "source": oracle or fixed}; None if the maps have a background.
    """
    about = {"class_names": dataset.class_names, "palette": dataset.palette}
    attributes = {name: str(value) for name, value in (threshold or {}).items()}
    writer = LabelWriter(file, **about, attributes=attributes, resume=shard.resume)
    value = threshold["threshold"] if threshold else None
    with open_scores(scores, dataset.class_names) as store, writer as out:
        for group, images in shard.images(dataset, out):
            maps = [with_background(store[record.image_id], value) for record in group]
            for record, label in zip(group, pseudo_labels(images, maps, settings, device), strict=True):
                out.add(record.image_id, label)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
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
        make_pseudo_labels(
            settings,
            threshold,
            Dataset(args.data),
            args.scores,
            args.file,
            shard=shard_of(args, args.scores, *([args.threshold] if args.threshold else [])),
            device=crf_device(settings.crf, args.device),
        )


if __name__ == "__main__":
    main()
