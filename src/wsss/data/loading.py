"""Training batches whose content depends on the step alone.

Sample n of a training run is image `permutation(epoch)[n mod N]` of epoch `n div N`, augmented with a generator seeded
by (rng_seed, n). A run resumed at step s thus gets the batches of an uninterrupted one, with any number of loader
processes, and the loader has no state to save.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from wsss.data.augment import Augment
from wsss.data.batch import Batch
from wsss.data.dataset import Dataset, Record, read_image, read_mask
from wsss.runtime import distributed
from wsss.runtime.seeds import derive_seed, drawn
from wsss.store.maps import open_labels

SHARED_MEMORY = Path("/dev/shm")
"""File system through which loader processes pass their batches."""
START = "fork" if sys.platform == "linux" else None
"""How loader processes begin; None: PyTorch's default, as a fork is not safe elsewhere."""
AHEAD = 2
"""Batches that each process prepares ahead: PyTorch's default."""
_LOADER = re.compile(r"DataLoader worker|shared memory|shm|No space left|unable to (write|open|mmap)", re.I)
log = logging.getLogger("wsss")
CACHE_BYTES = 2 * 1024**3
"""Decoded images and their labels are kept in memory up to this size in each loader process."""


class Samples(data.Dataset):
    """Augmented training samples, addressed by their number since the start of the training.

    label_of: a record's label map (H, W) uint8, or its scores (k, H, W); None for classifiers.
    reduce: function applied to the crop of a label; None: unchanged.
    """

    def __init__(
        self,
        records: Sequence[Record],
        augment: Augment,
        rng_seed: int,
        label_of: Callable[[Record], np.ndarray] | None = None,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.records, self.augment, self.rng_seed, self.label_of = records, augment, rng_seed, label_of
        self.reduce = reduce
        self._cache: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        self._cached_bytes = 0

    def index(self, sample: int) -> int:
        """Which record sample number `sample` shows."""
        return drawn(sample, len(self.records), self.rng_seed)

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Image (3, h, w), image-level labels (K,), box (4,), label map (h, w) or empty, further views by name."""
        index = self.index(sample)
        image, label = self._read(index)
        generator = torch.Generator().manual_seed(derive_seed(self.rng_seed, sample))
        pixels, box, target, views = self.augment(image, generator, label)
        if target is not None and self.reduce is not None:
            target = self.reduce(target)
        labels = torch.from_numpy(self.records[index].labels)
        return pixels, labels, box, torch.empty(0) if target is None else target, views

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        if index not in self._cache:
            record = self.records[index]
            pair = (read_image(record.image), self.label_of(record) if self.label_of else None)
            if self._cached_bytes > CACHE_BYTES:
                return pair
            self._cached_bytes += sum(part.nbytes for part in pair if part is not None)
            self._cache[index] = pair
        return self._cache[index]


@dataclass(frozen=True)
class StepSampler(data.Sampler):
    """Sample numbers of steps `first` … `steps` − 1.

    A step's `batch_size` samples are cut into `parts`, one after another, and each part among `processes`:
    this one gets share `rank`. So the same samples make a step however it is cut.

    Raises:
        ValueError: `batch_size` has no such parts.
    """

    first: int
    steps: int
    batch_size: int
    parts: int = 1
    processes: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if self.batch_size % (self.parts * self.processes):
            raise ValueError(
                f"batch_size {self.batch_size} cannot be cut into {self.parts} (training.accumulate) × "
                f"{self.processes} (execution.processes) equal shares"
            )

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // (self.parts * self.processes)
        for step in range(self.first, self.steps):
            for part in range(self.parts):
                start = step * self.batch_size + (part * self.processes + self.rank) * share
                yield list(range(start, start + share))

    def __len__(self) -> int:
        return (self.steps - self.first) * self.parts


def batches(
    samples: Samples, first: int, steps: int, batch_size: int, workers: int, parts: int = 1
) -> Iterator[tuple[Batch, Tensor]]:
    """This process's share of steps first … steps − 1, each in `parts` batches.

    Yields (batch, its label maps (B, h, w), empty for classifiers).
    """
    sampler = StepSampler(first, steps, batch_size, parts, distributed.processes(), distributed.rank())
    if workers and len(sampler) and not _fits_shared_memory(samples, next(iter(sampler)), workers):
        log.warning(
            "%s is too small for batches of %d loader process(es); it runs without, as execution.workers: 0 does (in a "
            "container, give it more: --shm-size=1g)",
            SHARED_MEMORY,
            workers,
        )
        workers = 0
    loader = data.DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=START if workers else None,
    )
    try:
        for images, labels, boxes, targets, views in loader:
            yield Batch(images, labels, boxes, views), targets
    except RuntimeError as error:
        if not workers or not _LOADER.search(str(error)):
            raise
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"a loader process ended ({reason}); set execution.workers: 0, or fewer") from error


def _fits_shared_memory(samples: Samples, first: Sequence[int], workers: int) -> bool:
    """Whether the prefetched batches of the loader processes fit into shared memory."""
    size = len(first) * sum(part.nbytes for part in samples[first[0]] if isinstance(part, Tensor))
    try:
        return shutil.disk_usage(SHARED_MEMORY).free > (AHEAD * workers + 1) * size
    except OSError:
        return True  # not a system that passes them on there


def mask_reader(record: Record) -> np.ndarray:
    """The ground-truth mask of a record.

    Raises:
        ValueError: the record has none.
    """
    if record.mask is None:
        raise ValueError(f"image '{record.image_id}' has no mask, and labels: ground_truth needs one for each")
    return read_mask(record.mask)


class StoredLabels:
    """Label maps from an HDF5 file, opened in each loader process."""

    def __init__(self, path: Path, class_names: Sequence[str] | None = None) -> None:
        self.store = open_labels(path, class_names)

    def weighted(self, records: Sequence[Record], weight: int) -> list[Record]:
        """The records, with those whose labels were corrected by hand repeated `weight` times."""
        return [*records, *[r for r in records if r.image_id in self.store.corrected] * (weight - 1)]

    def __call__(self, record: Record) -> np.ndarray:
        return self.store[record.image_id]


def labelled(dataset: Dataset, labels: Path | None, weight: int) -> tuple[list[Record], Callable[[Record], np.ndarray]]:
    """The training images from which samples are drawn, and a function that reads their label maps.

    labels: file of pseudo-labels; None: the ground truth. weight: repetitions of images with corrected labels.
    """
    records = dataset.split("train")
    if labels is None:
        return records, mask_reader
    stored = StoredLabels(labels, dataset.class_names)
    return stored.weighted(records, weight), stored
