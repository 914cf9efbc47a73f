"""Shards of a split: command line, images, stored features."""

from __future__ import annotations

import argparse
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss.data.dataset import SPLITS, Dataset, Record
from wsss.data.groups import pending, read_groups, size_groups
from wsss.runtime.progress import Progress
from wsss.store.features import FeatureFiles, FeatureStore


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `of` of a split; groups are not divided, so that the number of shards changes no result.

    resume: a text that identifies all that the results depend on; a partial file with another one is discarded.
    """

    split: str
    index: int = 0
    of: int = 1
    resume: str | None = None

    def images(
        self, dataset: Dataset, *stores: Container[str], without: Container[str] = (), read: bool = True
    ) -> Iterator[tuple[list[Record], np.ndarray | None]]:
        """The groups missing in some store, with their images (B, H, W, 3) uint8; reports progress.

        without: ids of images to leave out. read: False: None instead of the images, for work on stored features.
        """
        groups = self._groups(dataset)
        todo = pending([[r for r in group if r.image_id not in without] for group in groups], *stores)
        total = sum(map(len, groups))
        progress = Progress(total, "images", done=total - sum(map(len, todo)))
        for group, images in read_groups(todo) if read else ((group, None) for group in todo):
            yield group, images
            progress.update(len(group))

    def records(self, dataset: Dataset) -> list[Record]:
        """All images of the shard."""
        return [record for group in self._groups(dataset) for record in group]

    def _groups(self, dataset: Dataset) -> list[list[Record]]:
        return size_groups(dataset.split(self.split))[self.index :: self.of]


def shard_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of a sharded stage."""
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--split", required=True, choices=SPLITS, help="train or val")
    parser.add_argument("--shard", type=int, default=0, help="this job's part, 0-based")
    parser.add_argument("--of", type=int, default=1, help="number of parts; changes no result")
    parser.add_argument("--file", type=Path, required=True, help="HDF5 file to write")


def features_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the argument of a stage that can use stored features."""
    parser.add_argument("--features", type=Path, help="folder of compute_features, for what uses them")


def features_of(args: argparse.Namespace) -> FeatureStore | None:
    """The split's stored features; None if the stage runs on the images."""
    return FeatureFiles(args.features).open(args.split) if args.features else None


def shard_of(args: argparse.Namespace) -> Shard:
    """The job's shard, which resumes a partial file of the same key and shard.

    Raises:
        ValueError: there is no such shard.
    """
    if not 0 <= args.shard < args.of:
        raise ValueError(f"--shard {args.shard} --of {args.of}; accepted are shards 0 to {args.of - 1}")
    return Shard(args.split, args.shard, args.of, f"{args.key} {args.split} {args.shard} of {args.of}")
