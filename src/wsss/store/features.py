"""Feature maps of a data set's images in one HDF5 file, with random access by image id.

The layout is that of `wsss.store.maps`, with format "wsss-features" and no class names. The bytes `pixels` of an image
are a 16-byte digest of the photograph, then the four sizes of each map (int32), then the values of all maps (float16).
Deflate runs at level 0, as float16 features hardly compress. The attributes `scales` and `stages` are JSON lists; an
image has one map for each pair of them, ordered by scale, then stage.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsss.store.hdf5 import Header, MapRecord
from wsss.store.maps import FEATURES, MapStore, PathLike, kind_of, open_any
from wsss.store.writers import MapWriter

DIGEST = 16
"""Bytes of a photograph's digest."""


class Features(NamedTuple):
    """Features of an image. digest: of the photograph. maps: (n, D, h, w) float16 each; n = 2 with the mirror image."""

    digest: bytes
    maps: list[np.ndarray]


class FeatureWriter(MapWriter):
    """Writes the maps of images: `with FeatureWriter(path, scales, stages) as out: out.add(image_id, digest, maps)`.

    resume: as for `wsss.store.writers.LabelWriter`.
    """

    _LEVEL = 0

    def __init__(
        self, path: PathLike, scales: Sequence[float], stages: Sequence[int | str], resume: str | None = None
    ) -> None:
        self.count = len(scales) * len(stages)
        attributes = {"scales": json.dumps(list(scales)), "stages": json.dumps(list(stages))}
        super().__init__(path, Header(FEATURES, (), None, attributes), resume)

    def add(self, image_id: str, digest: bytes, maps: Sequence[np.ndarray]) -> None:
        """Appends the maps (n, D, h, w) of an image, as float16.

        Raises:
            ValueError: not one map for each scale and stage, or values that are NaN or beyond float16.
        """
        if len(maps) != self.count or len(digest) != DIGEST:
            raise ValueError(f"{image_id}: {len(maps)} maps, digest of {len(digest)} bytes; {self.count}, {DIGEST}")
        halves = [np.asarray(found, np.float16) for found in maps]
        if not all(np.isfinite(found).all() for found in halves):
            raise ValueError(f"{image_id}: features are NaN, or too large for float16; take another backbone or amp")
        sizes = np.array([found.shape for found in halves], "<i4").tobytes()
        packed = digest + sizes + b"".join(found.astype("<f2", copy=False).tobytes() for found in halves)
        self.append_pixels(image_id, (), np.frombuffer(packed, np.uint8)[None, None])


class FeatureStore(MapStore[Features]):
    """`store[image_id]` → Features; `stages_at` and `stage` select maps. Caches the image read last."""

    _KIND = FEATURES

    def __init__(self, path: PathLike) -> None:
        super().__init__(path)
        self.scales: list[float] = json.loads(self.attributes["scales"])
        self.stages: list[int | str] = json.loads(self.attributes["stages"])
        self._last: tuple[str, Features] | None = None

    @property
    def own_scale(self) -> float:
        """The scale nearest to 1."""
        return min(self.scales, key=lambda scale: abs(scale - 1))

    def __getitem__(self, image_id: str) -> Features:
        last = self._last
        if last is None or last[0] != image_id:
            last = self._last = (image_id, super().__getitem__(image_id))
        return last[1]

    def stages_at(self, image_id: str, scale: float, stages: Sequence[int | str]) -> list[np.ndarray]:
        """Maps (n, D, h, w) of each of the given stages at a scale.

        Raises:
            ValueError: features of the scale or of a stage were not computed.
        """
        if missing := [stage for stage in stages if stage not in self.stages]:
            raise ValueError(f"stages {missing} are wanted; compute_features.stages has {self.stages}")
        if scale not in self.scales:
            raise ValueError(f"scale {scale:g} is wanted; compute_features.scales has {self.scales}")
        first, maps = self.scales.index(scale) * len(self.stages), self[image_id].maps
        return [maps[first + self.stages.index(stage)] for stage in stages]

    def stage(self, image_id: str, scale: float, stage: int | str) -> np.ndarray:
        """One stage's maps (n, D, h, w) at a scale; raises as `stages_at`."""
        return self.stages_at(image_id, scale, [stage])[0]

    def photograph(self, record: MapRecord) -> bytes:
        """The digest of the photograph from a record of this file.

        Raises:
            ValueError: the record is damaged.
        """
        try:
            return zlib.decompress(record.chunks[0][:-4])[:DIGEST]
        except (IndexError, zlib.error) as error:
            raise ValueError(f"{self.path}: a record is damaged ({error})") from None

    def _decode(self, row: int, image_id: str) -> Features:
        packed = self._pixels_of(row, image_id).reshape(-1)
        count = len(self.scales) * len(self.stages)
        start = DIGEST + 16 * count
        with self._reading(image_id):
            sizes = packed[DIGEST:start].view("<i4").reshape(count, 4)
            ends = np.cumsum(sizes.astype(np.int64).prod(1))
            values = packed[start:].view("<f2")
            if (sizes < 0).any() or int(ends[-1]) != len(values):
                raise ValueError("sizes and values do not fit")
            maps = [part.reshape(size) for part, size in zip(np.split(values, ends[:-1]), sizes, strict=True)]
        return Features(packed[:DIGEST].tobytes(), maps)


class FeatureFiles(NamedTuple):
    """The folder of compute_features, with one file per split."""

    folder: Path

    def open(self, split: str) -> FeatureStore:
        """The features of `train` or `val`."""
        return FeatureStore(self.folder / f"{split}.h5")


def open_shard(path: PathLike) -> MapStore:
    """Opens a file of labels, scores or features; raises as `wsss.store.maps.open_labels`."""
    return FeatureStore(path) if kind_of(path) == FEATURES else open_any(path)
