"""Random walk of class activation maps over learned affinities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, RootModel
from torch import Tensor

from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.augment import to_input
from wsss.data.dataset import Dataset
from wsss.localise.inference import WriteBehind
from wsss.refine.affinitynet.network import AffinityNet, propagate_cam_group
from wsss.refine.irnet.network import IRNet, propagate_group_to_boundary
from wsss.refine.load import load_affinity
from wsss.runtime.devices import claim_device
from wsss.runtime.tensors import max_normalise, resize
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, shard_arguments, shard_of
from wsss.store.maps import ScoreWriter, open_scores

Settings = schema.AffinityWalk | schema.BoundaryWalk


class _Section(RootModel):
    root: Annotated[Settings, Field(discriminator="method")]


def affinity_walks(
    model: AffinityNet, inputs: Tensor, cams: list[Tensor], settings: schema.AffinityWalk
) -> list[Tensor]:
    """(k + 1, H, W) of each image, background first, from its CAMs (k, H, W)."""
    walk = settings.model_dump(exclude={"method"})
    return propagate_cam_group(cams, model(inputs), model.offsets, model.stride, **walk)


def boundary_walks(model: IRNet, inputs: Tensor, cams: list[Tensor], settings: schema.BoundaryWalk) -> list[Tensor]:
    """(k + 1, H, W) of each image, background first, from its CAMs (k, H, W)."""
    boundary, _ = model.infer(inputs)
    strided = [max_normalise(resize(maps, tuple(boundary.shape[1:]), align_corners=False)) for maps in cams]
    walk = settings.model_dump(exclude={"method"})
    return propagate_group_to_boundary(strided, boundary, model.stride, inputs.shape[2:], **walk)


@torch.inference_mode()
def refine_cam(
    settings: Settings,
    dataset: Dataset,
    model: AffinityNet | IRNet,
    scores: Path,
    file: Path,
    *,
    shard: Shard,
    device: torch.device,
) -> None:
    """Writes the walked maps (background first) of `shard` to `file`."""
    model = model.to(device).eval()
    walks = boundary_walks if settings.method == "irnet" else affinity_walks
    writer = ScoreWriter(file, class_names=dataset.class_names, resume=shard.resume)
    with open_scores(scores, dataset.class_names) as cams, writer as store, WriteBehind() as behind:
        for group, images in shard.images(dataset, store):
            inputs = torch.stack([to_input(image, model.backbone.mean, model.backbone.std) for image in images])
            seeds = [cams[record.image_id] for record in group]
            maps = [torch.from_numpy(found.scores).to(device) for found in seeds]
            refined = walks(model, inputs.to(device), maps, settings)
            for record, found, walked in zip(group, seeds, refined, strict=True):
                behind(store.add, record.image_id, np.r_[0, found.classes], walked.cpu().numpy())


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--affinity", type=Path, required=True, help="model.safetensors of train_affinity")
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    args = parser.parse_args()
    with stage_session("refine_cam", args):
        refine_cam(
            load_section(_Section, args.config).root,
            Dataset(args.data),
            load_affinity(args.affinity),
            args.scores,
            args.file,
            shard=shard_of(args, args.affinity, args.scores),
            device=claim_device(args.device),
        )


if __name__ == "__main__":
    main()
