"""Class activation maps of a split's images, over scales and mirrors, fused and stored for present classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from wsss.config.stages import InferCam
from wsss.data.dataset import Dataset, Record
from wsss.localise.base import Localises
from wsss.localise.inference import Cams, WriteBehind, cam_group, for_inference, stored_cams
from wsss.methods.load import load_classifier
from wsss.runtime.devices import claim_device
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, shard_arguments, shard_of
from wsss.store.features import FeatureFiles, FeatureStore
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
    """Writes the CAMs of `shard` to `file`, and if the settings ask for them those of every 4th pixel to another.

    features: of a frozen network; None: the network sees the photographs.
    """
    files = [file, strided_file] if strided_file else [file]
    with ExitStack() as stack:
        about = {"class_names": dataset.class_names, "resume": shard.resume}
        stores = [stack.enter_context(ScoreWriter(path, **about)) for path in files]
        wanted = stores if settings.strided else stores[:1]  # what nobody asked for stays empty
        behind = stack.enter_context(WriteBehind())
        for group, found in _groups(settings, dataset, model, wanted, shard, device, features):
            for record, cams in zip(group, found, strict=True):
                for store, maps in zip(wanted, cams, strict=False):
                    behind(store.add, record.image_id, record.classes, maps.cpu().numpy())


def _groups(
    settings: InferCam,
    dataset: Dataset,
    model: Localises,
    stores: Sequence[ScoreWriter],
    shard: Shard,
    device: torch.device,
    features: FeatureStore | None,
) -> Iterator[tuple[list[Record], list[Cams]]]:
    """The groups that are left, with their maps."""
    if features is not None:
        model = model.to(device)
        for group in shard.groups(dataset, *stores):
            yield group, [stored_cams(model, features, record, settings) for record in group]
        return
    model = for_inference(model, device)
    for group, images in shard.images(dataset, *stores):
        labels = torch.from_numpy(np.stack([record.labels for record in group]))
        yield group, cam_group(model, images, labels, settings)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of train_classifier")
    parser.add_argument("--strided-file", type=Path, help="HDF5 file for the maps of every 4th pixel")
    parser.add_argument("--features", type=Path, help="folder of compute_features, for methods that use them")
    args = parser.parse_args()
    inputs = {role: getattr(args, role) for role in ("data", "classifier", "features")}
    with stage_session("infer_cam", args, InferCam, **inputs) as settings:
        features = FeatureFiles(args.features).open(args.split) if args.features else None
        model, device = load_classifier(args.classifier), claim_device(args.device)
        files = (args.file, args.strided_file)
        infer_cam(settings, Dataset(args.data), model, *files, shard=shard_of(args), device=device, features=features)


if __name__ == "__main__":
    main()
