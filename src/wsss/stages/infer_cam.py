"""Class activation maps of a split's images, over scales and mirrors, fused and stored for present classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsss import schema
from wsss.config import load_section
from wsss.data.dataset import Dataset
from wsss.fusion import fuse
from wsss.inference import (
    WriteBehind,
    pending,
    read_groups,
    scaled_views,
    shard_progress,
    size_groups,
    view_maps,
)
from wsss.methods.base import Method
from wsss.methods.gradcam import localise
from wsss.models import load_classifier
from wsss.stages.common import resume_token, shard_arguments, stage_parser, stage_session
from wsss.store import ScoreWriter
from wsss.training.loop import resolve_device


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
    model = model.to(device).to(memory_format=torch.channels_last)
    backbone = model.backbone
    writer = ScoreWriter(file, class_names=dataset.class_names, resume=resume)
    todo = pending(groups, writer)
    progress = shard_progress(groups, todo)
    with writer as store, WriteBehind() as behind:
        for group, images in read_groups(todo):
            views = scaled_views(images, settings.scales, settings.flip, backbone.mean, backbone.std, device)
            labels = torch.from_numpy(np.stack([record.labels for record in group])).to(device)
            both = labels.repeat(2, 1) if settings.flip else labels  # images, then mirrors
            maps = view_maps(views, partial(localise, model, localiser=settings.localiser, labels=both), settings.amp)
            for i, record in enumerate(group):
                pairs = [_pair(m, i, len(group), settings.flip) for m in maps]
                cams = fuse(pairs, labels[i] > 0, record.size, settings.fusion, stride=backbone.stride)
                behind(store.add, record.image_id, record.classes, cams.cpu().numpy())
            progress.update(len(group))


def _pair(maps: Tensor, i: int, count: int, flip: bool) -> Tensor:
    """Map and mirror (2, K, h, w) of image i; without flip the map is its own mirror."""
    return maps[[i, i + count]] if flip else torch.stack([maps[i], maps[i].flip(-1)])


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
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
            device=resolve_device(args.device),
            resume=resume_token(args, args.classifier),
        )


if __name__ == "__main__":
    main()
