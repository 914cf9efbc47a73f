"""Predicts the label maps of a split by a segmentation network or a single-stage method, optionally with DenseCRF."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from wsss.config.stages import Segment
from wsss.data.dataset import Dataset
from wsss.data.groups import WriteBehind
from wsss.methods.decode import load_segmenter
from wsss.runtime.devices import claim_device
from wsss.runtime.tensors import largest
from wsss.segmentation.fusion import group_scores, probabilities
from wsss.segmentation.inference import crf_labels
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, features_argument, features_of, shard_arguments, shard_of
from wsss.store.features import FeatureStore
from wsss.store.writers import LabelWriter


def segment(
    settings: Segment,
    dataset: Dataset,
    model: nn.Module,
    files: Sequence[Path],
    *,
    shard: Shard,
    device: torch.device,
    features: FeatureStore | None = None,
) -> None:
    """Writes the predictions of `shard` to the first of `files`, and those after the CRF to the second.

    features: stored features, the input of the decoder; None: the network runs on the images.
    """
    model = model.to(device).to(memory_format=torch.channels_last)
    about = {"class_names": dataset.class_names, "palette": dataset.palette, "resume": shard.resume}
    with ExitStack() as stack:
        writers = [stack.enter_context(LabelWriter(path, **about)) for path in files]
        behind = stack.enter_context(WriteBehind())
        for group, images in shard.images(dataset, *writers, read=features is None or len(writers) > 1):
            scores = group_scores(model, group, images, settings, device, features)
            shares = probabilities(scores, group[0].size, settings)
            labels = [largest(shares, 1).byte().cpu().numpy()]
            labels += [crf_labels(images, shares.cpu().numpy(), settings.crf, device) for _ in writers[1:]]
            for out, found in zip(writers, labels, strict=True):
                for record, label in zip(group, found, strict=True):
                    behind(out.add, record.image_id, label)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="model.safetensors to decode with")
    parser.add_argument("--crf-file", type=Path, help="HDF5 file for the labels after the CRF")
    features_argument(parser)
    args = parser.parse_args()
    with stage_session("segment", args, Segment, "data", "model", "features") as settings:
        files = [args.file, *([args.crf_file] if args.crf_file and settings.crf else [])]
        if args.crf_file and not settings.crf:
            args.crf_file.touch()  # an output that the rule always declares; nothing reads it
        model, device = load_segmenter(args.model), claim_device(args.device)
        about = {"shard": shard_of(args), "device": device, "features": features_of(args)}
        segment(settings, Dataset(args.data), model, files, **about)


if __name__ == "__main__":
    main()
