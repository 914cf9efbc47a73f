"""Random walk of class activation maps over learned affinities."""

from __future__ import annotations

from pathlib import Path

import torch

from wsss import schema
from wsss.config import load_section
from wsss.data.augment import to_input
from wsss.data.dataset import Dataset
from wsss.inference import read_groups, size_groups
from wsss.models import load_affinity
from wsss.progress import Progress
from wsss.refine.affinity import AffinityNet, propagate_cams
from wsss.stages.common import shard_arguments, stage_parser, stage_session
from wsss.store import ScoreWriter, open_scores
from wsss.training.loop import resolve_device


@torch.inference_mode()
def refine_cam(
    settings: schema.RefineCam,
    dataset: Dataset,
    model: AffinityNet,
    scores: Path,
    file: Path,
    *,
    split: str,
    shard: int,
    of: int,
    device: torch.device,
) -> None:
    """Writes the walked maps (background first) of shard `shard` of `of` to `file`."""
    groups = size_groups(dataset.split(split))[shard::of]
    model = model.to(device).eval()
    progress = Progress(sum(map(len, groups)), "images")
    walk = {"stride": model.stride, "alpha": settings.alpha, "beta": settings.beta, "steps": settings.steps}
    with open_scores(scores) as cams, ScoreWriter(file, class_names=dataset.class_names) as store:
        for group, images in read_groups(groups):
            inputs = torch.stack([to_input(image, model.backbone.mean, model.backbone.std) for image in images])
            affinities = model(inputs.to(device))
            for record, affinity in zip(group, affinities, strict=True):
                seeds = torch.from_numpy(cams[record.image_id].scores).to(device)
                walked = propagate_cams(seeds, affinity, model.offsets, **walk)
                store.add(record.image_id, [0, *record.classes.tolist()], walked.cpu().numpy())
            progress.update(len(group))


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--affinity", type=Path, required=True, help="model.safetensors of train_affinity")
    parser.add_argument("--scores", type=Path, required=True, help="CAMs of the split")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    args = parser.parse_args()
    with stage_session("refine_cam", args):
        refine_cam(
            load_section(schema.RefineCam, args.config),
            Dataset(args.data),
            load_affinity(args.affinity),
            args.scores,
            args.file,
            split=args.split,
            shard=args.shard,
            of=args.of,
            device=resolve_device(args.device),
        )


if __name__ == "__main__":
    main()
