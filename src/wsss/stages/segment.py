"""Label maps of a split by a segmentation network or a single-stage method, over scales and mirrors, with a CRF."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsss.config import run as schema
from wsss.config.loading import load_section
from wsss.data.dataset import Dataset, Record
from wsss.localise.inference import WriteBehind, scaled_views, view_maps
from wsss.methods.decode import EndToEnd, load_segmenter
from wsss.refine.crf.dense import CRFParams, crf_score_group
from wsss.runtime.devices import claim_device
from wsss.runtime.tensors import resize
from wsss.segmentation.network import SegmentationNet
from wsss.stages.common import stage_parser, stage_session
from wsss.stages.shards import Shard, crf_device, shard_arguments, shard_of
from wsss.store.maps import LabelWriter

NEGLIGIBLE = 0.01
"""The CRF leaves out classes that are nowhere more probable than this."""


def mean_probabilities(maps: list[Tensor], size: tuple[int, int], flip: bool) -> Tensor:
    """(B, C, H, W) mean softmax over scales and mirrors; maps: per scale (2B, C, h, w), images then mirrors."""
    total: Tensor | float = 0.0
    for logits in maps:
        shares = resize(logits.softmax(1), size, align_corners=False)
        if flip:
            images, mirrors = shares.chunk(2)
            shares = (images + mirrors.flip(-1)) / 2
        total = total + shares
    return total / len(maps)


def max_probabilities(maps: list[Tensor], size: tuple[int, int], flip: bool) -> Tensor:
    """(B, C, H, W) softmax of the largest logits over scales and mirrors (AFA); maps as above."""
    best = None
    for logits in maps:
        scores = resize(logits, size, align_corners=False)
        if flip:
            images, mirrors = scores.chunk(2)
            scores = torch.maximum(images, mirrors.flip(-1))
        best = scores if best is None else torch.maximum(best, scores)
    return best.softmax(1)


FUSION = {"mean": mean_probabilities, "max": max_probabilities}


def crf_labels(
    images: Sequence[np.ndarray], shares: Sequence[np.ndarray], crf: schema.CRF, device: torch.device
) -> list[np.ndarray]:
    """(H, W) uint8 of each image from its softmax (C, H, W) and DenseCRF."""
    classes = [np.flatnonzero(share.max((1, 2)) > NEGLIGIBLE) for share in shares]
    params = CRFParams(**crf.model_dump(exclude={"backend"}))
    chosen = [share[ids] for share, ids in zip(shares, classes, strict=True)]
    labels = crf_score_group(images, [ids.tolist() for ids in classes], chosen, params, crf.backend, device)
    return [label.astype(np.uint8) for label in labels]


def segment(
    settings: schema.Segment,
    dataset: Dataset,
    model: SegmentationNet | EndToEnd,
    file: Path,
    crf_file: Path | None,
    *,
    shard: Shard,
    device: torch.device,
) -> None:
    """Writes the predictions of `shard` to `file`, and those after the CRF to `crf_file`."""
    model = model.to(device).to(memory_format=torch.channels_last)
    about = {"class_names": dataset.class_names, "palette": dataset.palette, "resume": shard.resume}
    writers = [LabelWriter(path, **about) for path in (file, crf_file) if path]
    refine_on = crf_device(settings.crf, str(device))
    with ExitStack() as stack:
        plain, *refined = (stack.enter_context(writer) for writer in writers)
        behind = stack.enter_context(WriteBehind())
        for group, images in shard.images(dataset, *writers):
            views = scaled_views(images, settings.scales, settings.flip, model.mean, model.std, device)
            maps = view_maps(views, lambda view, _rows: model(view), settings.amp)
            shares = FUSION[settings.fusion](maps, group[0].size, settings.flip)
            _add_group(behind, plain, group, shares.argmax(1).byte().cpu().numpy())
            for out in refined:
                _add_group(behind, out, group, crf_labels(images, shares.cpu().numpy(), settings.crf, refine_on))


def _add_group(behind: WriteBehind, out: LabelWriter, group: Sequence[Record], labels: Iterable[np.ndarray]) -> None:
    for record, label in zip(group, labels, strict=True):
        behind(out.add, record.image_id, label)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--model", type=Path, required=True, help="model.safetensors to decode with")
    parser.add_argument("--crf-file", type=Path, help="HDF5 file for the labels after the CRF")
    args = parser.parse_args()
    with stage_session("segment", args):
        settings = load_section(schema.Segment, args.config)
        segment(
            settings,
            Dataset(args.data),
            load_segmenter(args.model),
            args.file,
            args.crf_file if settings.crf else None,
            shard=shard_of(args, args.model),
            device=claim_device(args.device),
        )


if __name__ == "__main__":
    main()
