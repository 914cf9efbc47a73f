"""Confident labels that supervise affinities: CRFs on two backgrounds (AffinityNet §3.2) or thresholds (IRNet §4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, RootModel

from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.dataset import Dataset
from wsss.localise.seeds import confident_labels, power_background
from wsss.refine.crf.dense import CRFParams, crf_score_group
from wsss.refine.irnet.labels import confident_label_group
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, crf_device, shard_arguments, shard_of
from wsss.store.maps import LabelWriter, ScoreMap, open_scores


class PowerBackgrounds(schema.AffinityLabels):
    """AffinityNet's labels."""

    method: Literal["affinitynet"]

    def make(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], device: torch.device) -> list[np.ndarray]:
        """(H, W) uint8 of each image: class ids where both CRFs leave no doubt, 255 elsewhere."""
        low, high = (self._refined(images, maps, alpha, device) for alpha in (self.low_alpha, self.high_alpha))
        return [confident_labels(*both).to(torch.uint8).numpy() for both in zip(low, high, strict=True)]

    def _refined(
        self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], alpha: float, device: torch.device
    ) -> list[torch.Tensor]:
        scores = [torch.from_numpy(found.scores) for found in maps]
        both = [torch.cat([power_background(s, alpha)[None], s]).numpy() for s in scores]
        classes = [[0, *found.classes.tolist()] for found in maps]
        labels = crf_score_group(images, classes, both, _parameters(self.crf), self.crf.backend, device)
        return [torch.from_numpy(label) for label in labels]


class Thresholds(schema.IRNetLabels):
    """IRNet's labels."""

    method: Literal["irnet"]

    def make(self, images: Sequence[np.ndarray], maps: Sequence[ScoreMap], device: torch.device) -> list[np.ndarray]:
        """(H, W) uint8 of each image: reliable classes, reliable background, 255 elsewhere."""
        thresholds = self.foreground_threshold, self.background_threshold
        crf = _parameters(self.crf), self.gt_prob, self.crf.backend
        return confident_label_group(images, maps, *thresholds, *crf, device)


Settings = PowerBackgrounds | Thresholds


class _Section(RootModel):
    root: Annotated[Settings, Field(discriminator="method")]


def _parameters(crf: schema.CRF) -> CRFParams:
    return CRFParams(**crf.model_dump(exclude={"backend"}))


def make_affinity_labels(
    settings: Settings,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    shard: Shard,
    device: torch.device,
) -> None:
    """Writes the confident labels of `shard` to `file`."""
    writer = LabelWriter(file, class_names=dataset.class_names, palette=dataset.palette, resume=shard.resume)
    with open_scores(scores, dataset.class_names) as cams, writer as out:
        for group, images in shard.images(dataset, out):
            labels = settings.make(images, [cams[record.image_id] for record in group], device)
            for record, label in zip(group, labels, strict=True):
                out.add(record.image_id, label)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    args = parser.parse_args()
    with stage_session("make_affinity_labels", args):
        settings = load_section(_Section, args.config).root
        make_affinity_labels(
            settings,
            Dataset(args.data),
            args.scores,
            args.file,
            shard=shard_of(args, args.scores),
            device=crf_device(settings.crf, args.device),
        )


if __name__ == "__main__":
    main()
