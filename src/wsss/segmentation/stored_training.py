"""Training of a decoder on stored features of a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from wsss.backbones.build import build_backbone
from wsss.config.stages import TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.data.loading import labelled
from wsss.runtime.memory import kept
from wsss.runtime.seeds import derive_seed, drawn
from wsss.segmentation.build import build_segmentation
from wsss.segmentation.stored_decoder import FeatureDecoder, Sample, area_loss
from wsss.store.features import FeatureStore
from wsss.store.models import save_model
from wsss.training.session import Place, fit

SAMPLED = 64
"""Number of images from which the features' mean and deviation are computed."""
ROOM = 2 * 2**30
"""Size in bytes of the cache of samples for later epochs."""


def train_decoder(
    settings: TrainSegmentation, dataset: Dataset, labels: Path | None, store: FeatureStore, place: Place
) -> None:
    """Writes `model.safetensors` and `history.csv` to `place`; as `train_segmentation`, without running the network.

    store: features of the training split, of which the scale nearest to 1 is used.
    """
    torch.manual_seed(derive_seed(settings.rng_seed, "init"))
    model = build_segmentation(settings, len(dataset.class_names), build_backbone(settings.backbone))
    training = settings.training
    records, label_of = labelled(dataset, labels, settings.correction_weight)

    def read(index: int) -> Sample:
        maps = store.stages_at(records[index].image_id, store.own_scale, model.stages)
        label = torch.from_numpy(label_of(records[index]))
        return Sample.of([torch.from_numpy(found[:1].copy()) for found in maps], label, len(dataset.class_names))

    sample_of = kept(read, ROOM, lambda sample: sample.bytes)
    if isinstance(model.decoder, FeatureDecoder):
        every = max(1, len(records) // SAMPLED)
        model.decoder.standardise_by(sample_of(index).maps for index in range(0, len(records), every))

    def batches_from(first: int, steps: int) -> Iterator[list[Sample]]:
        for step in range(first, steps):
            numbers = range(step * training.batch_size, (step + 1) * training.batch_size)
            yield [_sample(sample_of, number, len(records), settings) for number in numbers]

    def losses(samples: list[Sample], _step: int) -> dict[str, Tensor]:
        return {"seg": area_loss(decoder, [sample.each(lambda part: part.to(place.device)) for sample in samples])}

    decoder = model.decoder.to(place.device)
    fit(decoder, decoder.parameters(), losses, batches_from, len(records), training, settings.rng_seed, place)
    decoder.eval()
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    if place.writes:
        save_model(model.cpu(), place.out / "model.safetensors", "segmentation", section, dataset.class_names)


def _sample(sample_of: Callable[[int], Sample], number: int, count: int, settings: TrainSegmentation) -> Sample:
    """Sample `number` since the start of training, a function of the number and the random seed."""
    sample = sample_of(drawn(number, count, settings.rng_seed))
    flip = settings.training.augment.flip and derive_seed(settings.rng_seed, "flip", number) % 2 == 1
    return sample.each(lambda tensor: tensor.flip(-1)) if flip else sample
