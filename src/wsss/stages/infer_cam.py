"""Class activation maps of a split's images, over scales and mirrors, fused and stored for present classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset
from wsss.devices import claim_device
from wsss.inference import WriteBehind, cam_group, for_inference, pending, read_groups, size_groups
from wsss.methods.base import Method
from wsss.models import load_classifier
from wsss.stages.common import resume_token, shard_arguments, stage_parser, stage_session
from wsss.stages.shards import shard_progress
from wsss.store import ScoreWriter


def infer_cam(
    settings: schema.InferCam,
    dataset: Dataset,
    model: Method,
    file: Path,
    *,
    split: str,
    shard: int,
    of: int,
    device: torch.device,
    resume: str | None = None,
) -> None:
    """Writes the CAMs of shard `shard` of `of` to `file`."""
    groups = size_groups(dataset.split(split))[shard::of]
    model = for_inference(model, device)
    writer = ScoreWriter(file, class_names=dataset.class_names, resume=resume)
    todo = pending(groups, writer)
    progress = shard_progress(groups, todo)
    with writer as store, WriteBehind() as behind:
        for group, images in read_groups(todo):
            labels = torch.from_numpy(np.stack([record.labels for record in group]))
            found = cam_group(model, images, labels, **settings.model_dump(exclude={"threshold"}))
            for record, cams in zip(group, found, strict=True):
                behind(store.add, record.image_id, record.classes, cams.cpu().numpy())
            progress.update(len(group))


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    args = parser.parse_args()
    with stage_session("infer_cam", args):
        infer_cam(
            load_section(schema.InferCam, args.config),
            Dataset(args.data),
            load_classifier(args.classifier),
            args.file,
            split=args.split,
            shard=args.shard,
            of=args.of,
            device=claim_device(args.device),
            resume=resume_token(args, args.classifier),
        )


if __name__ == "__main__":
    main()
