"""Converts score maps to pseudo-labels: background, optional PAR and DenseCRF, argmax, optional mask proposals."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss.config.stages import MakePseudoLabels
from wsss.data.dataset import Dataset
from wsss.refine.proposals.merge import merged
from wsss.refine.proposals.store import MaskStore
from wsss.refine.pseudo_labels import completed, pseudo_labels
from wsss.runtime.gpus import gpu_possible
from wsss.runtime.progress import log
from wsss.stages.common import read_threshold, stage_parser, stage_session
from wsss.stages.shards import Shard, shard_arguments, shard_of
from wsss.store.maps import open_scores
from wsss.store.writers import LabelWriter

if TYPE_CHECKING:
    import torch


def make_pseudo_labels(
    settings: MakePseudoLabels,
    threshold: dict[str, Any] | None,
    dataset: Dataset,
    scores: Path,
    file: Path,
    *,
    shard: Shard,
    device: str | torch.device,
) -> None:
    """Writes the labels of `shard` to `file`, with the threshold as an attribute; None: the maps' own background."""
    about = {"class_names": dataset.class_names, "palette": dataset.palette}
    attributes = {name: str(value) for name, value in (threshold or {}).items()}
    writer = LabelWriter(file, **about, attributes=attributes, resume=shard.resume)
    value = threshold["threshold"] if threshold else None
    proposals = MaskStore(settings.masks.file.path) if settings.masks else nullcontext()
    without = 0
    with open_scores(scores, dataset.class_names) as store, proposals as masks, writer as out:
        for group, images in shard.images(dataset, out):
            maps = [completed(store[record.image_id], value, settings) for record in group]
            labels = pseudo_labels(images, maps, settings, device)
            for record, label, found in zip(group, labels, maps, strict=True):
                if masks is not None:
                    own = masks.get(record.image_id, record.size)
                    label, without = merged(label, found, own, settings.masks), without + (own is None)
                out.add(record.image_id, label)
    if without:
        log.warning("%s: no masks of %d image(s), which keep their labels", settings.masks.file, without)


def device_of(settings: MakePseudoLabels, name: str) -> str | torch.device:
    """The CPU if no CRF can run on a GPU here, without the import of torch; else the device claimed."""
    fixed = settings.crf is None or settings.crf.backend == "pydensecrf"
    if fixed or name == "cpu" or (name == "auto" and not gpu_possible()):
        return "cpu"
    from wsss.runtime.devices import claim_device

    return claim_device(name)


def main() -> None:
    """Command line."""
    parser = stage_parser(__doc__)
    shard_arguments(parser)
    parser.add_argument("--scores", type=Path, required=True, help="maps of the split")
    parser.add_argument("--threshold", type=Path, help="threshold.json of choose_threshold, for these maps")
    args = parser.parse_args()
    with stage_session("make_pseudo_labels", args, MakePseudoLabels, "data", "scores", "threshold") as settings:
        threshold = read_threshold(args.threshold) if args.threshold else None
        chosen = {"shard": shard_of(args), "device": device_of(settings, args.device)}
        make_pseudo_labels(settings, threshold, Dataset(args.data), args.scores, args.file, **chosen)


if __name__ == "__main__":
    main()
