"""Label maps and score maps of a data set in one HDF5 file, with random access by image id.

Layout (format version 4); `n` images, in the order of addition:

    attrs            format = "wsss-labels" | "wsss-scores", version = 4, digest: of class_names, palette, attributes
    class_names      (C,) UTF-8 of fixed length; class id = position, 0 = background
    palette          (C, 3) uint8 RGB (labels only)
    attributes       (bytes,) uint8, UTF-8 of a JSON object of strings: notes of the writer on the data
    ids              (n,) UTF-8 of fixed length, the image ids
    shapes           (n, 3) int32: k, H, W (k = 1 for labels)
    pixels           (bytes,) uint8: the maps of image i begin at offsets[i] and are k · H · W bytes, padded to chunks
    offsets          (n + 1,) int64
    classes          uint16: class ids of the maps of image i are classes[class_offsets[i]:class_offsets[i + 1]]
    class_offsets    (n + 1,) int64 (for labels all 0)
    lookup_hash      (n,) uint64, ascending: first 8 bytes (little-endian) of BLAKE2b of the id
    lookup_row       (n,) int64: the row of each hash

A label is a class id, 255 = ignore; a score s in [0, 1] is stored as round(255 · s). Plain h5py reads them:
`k, h, w = f["shapes"][i]; f["pixels"][f["offsets"][i]:][: k * h * w].reshape(k, h, w)`. Filters are HDF5's own, deflate
and Fletcher32, so that no damaged byte is read as another map; texts have a fixed length, as HDF5 has no checksum for
others. Ids are data, never HDF5 or file names, so that they may contain any character but NUL. Nothing in a file
depends on the time, the machine or the number of shards: equal content in equal order gives equal bytes. There are no
HDF5 groups, because they contain a time stamp.
"""

from __future__ import annotations

import json
import math
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

import h5py
import numpy as np

from wsss.store.checks import (
    attribute,
    open_whole,
    read_texts,
    require_all_chunks,
    require_own,
    require_small,
    undamaged,
)
from wsss.store.hdf5 import CHUNK, VERSION, Header, MapRecord, checked, hash_id

LABELS, SCORES, FEATURES = "wsss-labels", "wsss-scores", "wsss-features"
CORRECTED = "corrected"
"""Attribute of label files: a JSON list of the images whose maps were corrected by hand."""
BACKGROUND_POWER = "background_power"
"""Attribute of score files: exponent p, where the background map is (1 − max)^p of the classes' maps."""
LEVELS = 255
"""Largest stored level of a score, which stands for 1."""
_TABLES = ("shapes", "offsets", "classes", "class_offsets", "lookup_hash", "lookup_row")
PathLike = str | os.PathLike[str]
T = TypeVar("T")


class ScoreMap(NamedTuple):
    """classes: (k,) int64 class ids; scores: (k, H, W) float32 in [0, 1]."""

    classes: np.ndarray
    scores: np.ndarray


class UnknownImage(KeyError, ValueError):
    """An image id that a file does not contain."""

    def __str__(self) -> str:
        return str(self.args[0])


class MapStore(Mapping[str, T], Generic[T]):
    """Random access by image id, in 44 bytes of memory per image and 2 per map; each process opens the file itself."""

    _KIND: str

    def __init__(self, path: PathLike, class_names: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._pid = -1
        self._load_header()
        if class_names is not None and tuple(class_names) != self.class_names:
            both = f"its classes are {_listed(self.class_names)}, the data set's {_listed(class_names)}"
            raise ValueError(f"{self.path}: of another run or data set: {both}")

    def _load_header(self) -> None:
        with open_whole(self.path) as f:
            with undamaged(self.path):
                found = attribute(f, "format"), attribute(f, "version")
            if found[0] not in (LABELS, SCORES, FEATURES):
                raise ValueError(f"{self.path}: an HDF5 file, but not written by wsss (no format mark)")
            if found != (self._KIND, VERSION):
                wanted = f"{self._KIND} version {VERSION}"
                raise ValueError(f"{self.path}: holds {found[0]} version {found[1]}, expected {wanted}")
            with undamaged(self.path):
                self._load_tables(f)

    @property
    def header(self) -> Header:
        """The file's header."""
        palette = None if self.palette is None else self.palette.tolist()
        return Header(self._KIND, self.class_names, palette, self.attributes)

    @property
    def corrected(self) -> frozenset[str]:
        """The images whose maps were corrected by hand."""
        return frozenset(json.loads(self.attributes.get(CORRECTED, "[]")))

    def _load_tables(self, f: h5py.File) -> None:
        """Reads everything but maps and ids."""
        for name in f:
            require_own(f, name)
        require_small(f)
        self.class_names: tuple[str, ...] = tuple(read_texts(f["class_names"]))
        self.palette: np.ndarray | None = f["palette"][:] if "palette" in f else None
        self.attributes: dict[str, str] = json.loads(f["attributes"][:].tobytes())
        if self.header.digest != attribute(f, "digest"):
            raise ValueError("class names, palette or attributes are not those that were written")
        self._length = len(f["ids"])
        for name in _TABLES:
            require_all_chunks(f[name])
        tables = {name: f[name][:] for name in _TABLES}
        self._shapes, self._offsets = tables["shapes"], tables["offsets"]
        self._classes, self._class_offsets = tables["classes"], tables["class_offsets"]
        self._hashes, self._rows = tables["lookup_hash"], tables["lookup_row"]
        pixels = f["pixels"]
        require_all_chunks(pixels)
        sizes = -(-self._shapes.astype(np.int64).prod(1) // CHUNK) * CHUNK
        lengths = {len(self._shapes), len(self._offsets) - 1, len(self._hashes), len(self._rows)}
        fits = lengths == {self._length} and self._offsets[0] == 0 and (np.diff(self._offsets) == sizes).all()
        if not fits or self._offsets[-1] != len(pixels) or self._class_offsets[-1] != len(self._classes):
            raise ValueError("its tables do not fit one another")

    def _handle(self) -> h5py.File:
        """The open file; a forked or unpickled copy must not share the parent's handle."""
        if self._pid != os.getpid():
            self._file = open_whole(self.path)
            with undamaged(self.path):
                self._pixels, self._ids = self._file["pixels"], self._file["ids"]
            self._pid = os.getpid()
        return self._file

    def _row(self, image_id: str) -> int:
        """Row of an id, or -1. Ids are compared only where hashes collide; otherwise the 64-bit hash decides."""
        key = np.uint64(hash_id(image_id))
        first, last = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        rows = self._rows[first:last].tolist()
        if len(rows) == 1:
            return rows[0]
        self._handle()
        for row in rows:
            if self._ids[row].decode() == image_id:
                return row
        return -1

    def _found(self, image_id: str) -> int:
        row = self._row(image_id) if isinstance(image_id, str) else -1
        if row < 0:
            raise UnknownImage(f"{self.path}: no image {image_id!r} in it; the file is of another run or data set")
        return row

    def _pixels_of(self, row: int, image_id: str) -> np.ndarray:
        """Maps (k, H, W) uint8 of a row; ValueError if they are damaged."""
        self._handle()
        shape, start = self._shapes[row].tolist(), int(self._offsets[row])
        with self._reading(image_id):
            return self._pixels[start : start + math.prod(shape)].reshape(shape)

    def _classes_of(self, row: int) -> np.ndarray:
        first, last = self._class_offsets[row : row + 2].tolist()
        return self._classes[first:last].astype(np.int64)

    def record(self, image_id: str) -> MapRecord:
        """The stored record of an image, after a check of its checksums; for merging."""
        row = self._found(image_id)
        self._handle()
        with self._reading(image_id):
            starts = range(int(self._offsets[row]), int(self._offsets[row + 1]), CHUNK)
            raw = [self._pixels.id.read_direct_chunk((start,)) for start in starts]
            if any(mask for mask, _ in raw):
                raise ValueError("a chunk skips a filter")
            chunks = tuple(checked(bytes(chunk)) for _, chunk in raw)
        return MapRecord(tuple(self._shapes[row].tolist()), tuple(self._classes_of(row).tolist()), chunks)

    @abstractmethod
    def _decode(self, row: int, image_id: str) -> T:
        """The image's map; ValueError if it is damaged."""

    def __getitem__(self, image_id: str) -> T:
        return self._decode(self._found(image_id), image_id)

    def _reading(self, image_id: str) -> AbstractContextManager[None]:
        return undamaged(self.path, f"image {image_id!r}")

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._row(image_id) >= 0

    def __iter__(self) -> Iterator[str]:
        """Ids in the order of the file."""
        hashes = np.empty_like(self._hashes)
        hashes[self._rows] = self._hashes
        self._handle()
        with undamaged(self.path):
            for image_id, written in zip(read_texts(self._ids), hashes.tolist(), strict=True):
                if hash_id(image_id) != written:
                    raise ValueError("image ids are not those that were written")
                yield image_id

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, object]:
        private = ("_file", "_pixels", "_ids")
        return {k: v for k, v in self.__dict__.items() if k not in private} | {"_pid": -1}

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._pid == os.getpid():
            self._file.close()
        self._pid = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LabelStore(MapStore[np.ndarray]):
    """`store[image_id]` → (H, W) uint8 class ids, 255 = ignore; with class_names, palette and attributes."""

    _KIND = LABELS
    palette: np.ndarray

    def _decode(self, row: int, image_id: str) -> np.ndarray:
        return self._pixels_of(row, image_id)[0]


class ScoreStore(MapStore[ScoreMap]):
    """`store[image_id]` → ScoreMap of the image's present classes; with class_names and attributes."""

    _KIND = SCORES

    def _decode(self, row: int, image_id: str) -> ScoreMap:
        return ScoreMap(self._classes_of(row), self._pixels_of(row, image_id) * np.float32(1 / LEVELS))


def open_labels(path: PathLike, class_names: Sequence[str] | None = None) -> LabelStore:
    """Open a label file. class_names: if given, the classes that the file must have.

    Raises:
        ValueError: the file is damaged, of another kind or of other classes.
        FileNotFoundError: the file does not exist.
    """
    return LabelStore(path, class_names)


def open_scores(path: PathLike, class_names: Sequence[str] | None = None) -> ScoreStore:
    """Open a score file; argument and errors as of `open_labels`."""
    return ScoreStore(path, class_names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "")


def open_any(path: PathLike, class_names: Sequence[str] | None = None) -> LabelStore | ScoreStore:
    """Open a label file or a score file, by its format; argument and errors as of `open_labels`."""
    return ScoreStore(path, class_names) if kind_of(path) == SCORES else LabelStore(path, class_names)


def kind_of(path: PathLike) -> str | None:
    """The format attribute of a file, e.g. `wsss-labels`; None if it has none or cannot be read."""
    if h5py.is_hdf5(path):
        with suppress(OSError, KeyError, RuntimeError, ValueError), open_whole(Path(path)) as f:
            return attribute(f, "format")
    return None
