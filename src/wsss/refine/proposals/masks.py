"""Masks of one image as runs of pixels, over which sums of maps are computed without expanding the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Masks:
    """S masks, which may overlap, as runs in COCO's order: columns from left to right, each from the top.

    size: (H, W). starts, ends: (R,) int64 positions in 0 … H·W, ends excluded. owner: (R,) int64, ascending, the mask
    of each run. count: S. level: (S,) int64, 0 sub-part, 1 part, 2 whole; all 0 if a source has no levels.
    """

    size: tuple[int, int]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    owner: NDArray[np.int64]
    count: int
    level: NDArray[np.int64]

    @classmethod
    def from_dense(cls, masks: NDArray, level: Sequence[int] | NDArray | None = None) -> Self:
        """From (S, H, W), non-zero inside."""
        flat = (np.asarray(masks) != 0).transpose(0, 2, 1).reshape(len(masks), masks.shape[1] * masks.shape[2])
        edges = np.diff(np.pad(flat, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        owner, starts = np.nonzero(edges == 1)
        return cls(tuple(masks.shape[1:]), starts, np.nonzero(edges == -1)[1], owner, len(masks), _levels(level, masks))

    @classmethod
    def from_counts(
        cls, size: tuple[int, int], counts: Sequence[Sequence[int]], level: Sequence[int] | None = None
    ) -> Self:
        """From COCO's uncompressed run lengths of each mask: outside, inside, outside …

        Raises:
            ValueError: lengths that do not add up to H·W.
        """
        starts, ends, owner = [], [], []
        for index, lengths in enumerate(counts):
            bounds = np.cumsum(lengths)
            if len(bounds) == 0 or bounds[-1] != size[0] * size[1]:
                covered = bounds[-1] if len(bounds) else 0
                raise ValueError(f"mask {index} covers {covered} pixels; an image of {size[0]} × {size[1]} has others")
            bounds = bounds[: len(bounds) // 2 * 2]
            inside = bounds[1::2] > bounds[::2]
            starts.append(bounds[::2][inside])
            ends.append(bounds[1::2][inside])
            owner.append(np.full(int(inside.sum()), index))
        parts = (np.concatenate([*p, np.empty(0, np.int64)]).astype(np.int64) for p in (starts, ends, owner))
        return cls(tuple(size), *parts, len(counts), _levels(level, counts))

    def only(self, chosen: NDArray[np.int64]) -> Self:
        """The masks of the given indices, in the order of this object."""
        kept = np.zeros(self.count, bool)
        kept[chosen] = True
        runs, number = kept[self.owner], np.cumsum(kept) - 1
        parts = self.starts[runs], self.ends[runs], number[self.owner[runs]]
        return type(self)(self.size, *parts, int(kept.sum()), self.level[kept])

    def to_dense(self) -> NDArray[np.bool_]:
        """(S, H, W)."""
        pixels, owner = self.pixels()
        dense = np.zeros((self.count, self.size[0] * self.size[1]), bool)
        dense[owner, pixels] = True
        return dense.reshape(self.count, self.size[1], self.size[0]).transpose(0, 2, 1)

    @property
    def areas(self) -> NDArray[np.int64]:
        """(S,), pixels."""
        return np.bincount(self.owner, self.ends - self.starts, self.count).astype(np.int64)

    def sums(self, maps: NDArray) -> NDArray[np.float64]:
        """(S, P), the sum of every map (P, H, W) over every mask: a sparse product with the maps' running sums."""
        if maps.shape[1:] != self.size:
            raise ValueError(f"maps of {maps.shape[1:]} pixels and masks of {self.size}; they must be of one image")
        running = np.zeros((len(maps), self.size[0] * self.size[1] + 1))
        np.cumsum(maps.transpose(0, 2, 1).reshape(len(maps), -1), axis=1, dtype=np.float64, out=running[:, 1:])
        runs = running[:, self.ends] - running[:, self.starts]
        return np.stack([np.bincount(self.owner, row, self.count) for row in runs], axis=1)

    def pixels(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Every pixel of every mask, in COCO's order, and its mask; mask by mask."""
        return self._pixels(slice(None)), np.repeat(self.owner, self.ends - self.starts)

    def paint(self, values: NDArray[np.uint8], order: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(H, W): the masks painted with their values (S,) in `order`, later ones on top; 0 outside."""
        rank = np.empty(self.count, np.int64)
        rank[order] = np.arange(self.count)
        runs = np.argsort(rank[self.owner], kind="stable")
        label = np.zeros(self.size[0] * self.size[1], np.uint8)
        lengths = (self.ends - self.starts)[runs]
        label[self._pixels(runs)] = np.repeat(values[self.owner[runs]], lengths)  # of repeated indices the last holds
        return np.ascontiguousarray(label.reshape(self.size[1], self.size[0]).T)

    def _pixels(self, runs: NDArray[np.int64] | slice) -> NDArray[np.int32]:
        """The pixels of the given runs, concatenated."""
        starts, lengths = self.starts[runs], (self.ends - self.starts)[runs]
        first = (starts - np.cumsum(lengths) + lengths).astype(np.int32)
        return np.repeat(first, lengths) + np.arange(lengths.sum(), dtype=np.int32)

    def overlaps(self) -> NDArray[np.int64]:
        """(S, S): number of pixels that two masks share."""
        dense = (
            self.to_dense().reshape(self.count, self.size[0] * self.size[1]).astype(np.float32)
        )  # exact up to 2^24 pixels
        return (dense @ dense.T).astype(np.int64)


def _levels(level: Sequence[int] | NDArray | None, masks: Sequence) -> NDArray[np.int64]:
    return np.zeros(len(masks), np.int64) if level is None else np.asarray(level, np.int64)
