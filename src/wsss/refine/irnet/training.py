"""Training of IRNet on confident labels (Ahn 2019, §4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.backbones.base import Backbone
from wsss.data.augment import to_input
from wsss.data.dataset import Record, read_image
from wsss.data.groups import read_ahead
from wsss.data.loading import StoredLabels
from wsss.refine.affinitynet.network import pair_labels
from wsss.refine.base import LabelOf, Reduce, Terms
from wsss.refine.irnet.network import IRNet, irnet_losses
from wsss.refine.irnet.paths import path_offsets
from wsss.refine.irnet.settings import Training
from wsss.runtime.progress import Progress, log
from wsss.runtime.tensors import resize
from wsss.training.session import Place


class IRNetTraining:
    """Builds the network on the frozen backbone and computes its five terms over the pairs of a batch."""

    def __init__(self, settings: Training) -> None:
        self.settings = settings

    def labels(self, path: Path, class_names: Sequence[str]) -> tuple[LabelOf, Reduce]:
        return StoredLabels(path, class_names), None

    def build(self, backbone: Backbone) -> IRNet:
        return IRNet(backbone, self.settings.stride, self.settings.training.augment.crop)

    def head_parameters(self, model: IRNet) -> Iterable[nn.Parameter]:
        return model.displacement_parameters()

    def terms(self, model: IRNet, item: tuple[Any, Tensor], _step: int) -> Terms:
        batch, labels = item
        offsets = path_offsets(self.settings.radius).to(labels.device)
        logits, displacement = model(batch.images)
        pairs = pair_labels(sample_labels(labels, logits.shape[1:]), offsets, self.settings.inner_pairs)
        return irnet_losses(logits, displacement, pairs, self.settings.radius)

    def finish(self, model: IRNet, records: Sequence[Record], place: Place) -> None:
        """Stores the mean displacement over the training images in the model; inference subtracts it."""
        measured = [record for record in records if record.measured]
        if self.settings.displacement_over == "measured" and measured:
            records = measured
        progress = Progress(len(records), "images")
        training = self.settings.training
        batches = corner_crops(records, model.backbone, training.augment.crop, training.batch_size)

        def on_device() -> Iterator[Tensor]:
            for batch in batches:
                yield batch.to(place.device)
                progress.update(len(batch))

        model.measure_mean_displacement(on_device())
        log.info("mean displacement (y, x): %.3f, %.3f cells", *model.mean_displacement.tolist())


def sample_labels(labels: Tensor, grid: Sequence[int]) -> Tensor:
    """(B, H, W) class ids with 255 → (B, *grid): the label at the centre of each cell, as in IRN."""
    return resize(labels[None], tuple(grid), mode="nearest-exact")[0]


def corner_crops(records: Sequence[Record], backbone: Backbone, crop: int, batch_size: int) -> Iterator[Tensor]:
    """Batches (B, 3, crop, crop) of normalised images, cropped or padded with 0 at the bottom and right."""

    def read(record: Record) -> Tensor:
        pixels = to_input(read_image(record.image), backbone.mean, backbone.std)[:, :crop, :crop]
        return F.pad(pixels, (0, crop - pixels.shape[2], 0, crop - pixels.shape[1]))

    batches = (records[start : start + batch_size] for start in range(0, len(records), batch_size))
    for _, crops in read_ahead(lambda batch: torch.stack([read(record) for record in batch]), batches):
        yield crops.result()
