"""Computes class activation maps of a split's images over scales and mirrors, and stores those of present classes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch

from wsss.config.stages import InferCam
from wsss.data.dataset import Dataset
from wsss.data.groups import WriteBehind
from wsss.localise.base import Localises
from wsss.localise.inference import cam_maker
from wsss.methods.load import load_classifier
from wsss.runtime.devices import claim_device
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, features_argument, features_of, shard_arguments, shard_of
from wsss.store.features import FeatureStore
from wsss.store.writers import ScoreWriter


def infer_cam(
    settings: InferCam,
    dataset: Dataset,
    model: Localises,
    file: Path,
    strided_file: Path | None = None,
    *,
    shard: Shard,
    device: torch.device,
    features: FeatureStore | None = None,
) -> None:
    """Writes the CAMs of `shard` to `file`, and with `settings.strided` those of every 4th pixel to `strided_file`.

    features: stored features, the classifier's input; None: the network runs on the images.
    """
    files = [file, strided_file] if strided_file else [file]
    with ExitStack() as stack:
        about = {"class_names": dataset.class_names, "resume": shard.resume}
        stores = [stack.enter_context(ScoreWriter(path, **about)) for path in files]
        wanted = stores if settings.strided else stores[:1]  # without `strided` the second file stays empty
        make, behind = cam_maker(model, settings, device, features), stack.enter_context(WriteBehind())
        for group, images in shard.images(dataset, *wanted, read=features is None):
            for record, cams in zip(group, make(group, images), strict=True):
                for store, maps in zip(wanted, cams, strict=False):
                    behind(store.add, record.image_id, record.classes, maps.cpu().numpy())


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--strided-file", type=Path, help="HDF5 file for the maps of every 4th pixel")
    features_argument(parser)
    args = parser.parse_args()
    with stage_session("infer_cam", args, InferCam, "data", "classifier", "features") as settings:
        model, device = load_classifier(args.classifier), claim_device(args.device)
        about = {"shard": shard_of(args), "device": device, "features": features_of(args)}
        infer_cam(settings, Dataset(args.data), model, args.file, args.strided_file, **about)


if __name__ == "__main__":
    main()
