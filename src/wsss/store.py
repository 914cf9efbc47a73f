"""Label maps and score maps of a data set in one HDF5 file, with random access by image id.

Layout (format version 1); `n` images, in the order in which they were added:

    attrs            format = "wsss-labels" | "wsss-scores", version = 1
    class_names      (C,) UTF-8; class id = position, 0 = background
    palette          (C, 3) uint8 RGB (labels only)
    attributes       scalar UTF-8, a JSON object of strings: whatever the writer wanted to say about the data
    ids              (n,) UTF-8, the image ids
    shapes           (n, 3) int32: k, H, W (k = 1 for labels)
    offsets          (n + 1,) int64: record i is records[offsets[i]:offsets[i + 1]]
    records          (bytes,) uint8, the compressed images one after another
    lookup_hash      (n,) uint64, ascending: first 8 bytes (little-endian) of BLAKE2b of the id
    lookup_row       (n,) int64: the row of each hash

A label record is a zlib stream of the (H, W) uint8 map, so that plain h5py reads it in a line:
`np.frombuffer(zlib.decompress(f["records"][a:b]), "u1").reshape(H, W)`. A score record is k little-endian
uint16 class ids, then what `wsss.codec` describes. Ids are data, never HDF5 or file names, so that they may
hold any character but NUL. Nothing in a file depends on the time, the machine or the number of shards: equal
content in equal order gives equal bytes. (HDF5 groups bear a time stamp, so there are none.)
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

import h5py
import numpy as np

from wsss.codec import decode_scores, encode_scores

IGNORE = 255
VERSION = 1
LABELS, SCORES = "wsss-labels", "wsss-scores"
_CHUNK = 1 << 16  # bytes of `records` per HDF5 chunk: what a random read costs at least
_TEXT = h5py.string_dtype("utf-8")
PathLike = str | os.PathLike[str]
T = TypeVar("T")


class ScoreMap(NamedTuple):
    """classes: (k,) int64 class ids; scores: (k, H, W) float32 in [0, 1]."""

    classes: np.ndarray
    scores: np.ndarray


def _hash(image_id: str) -> int:
    return int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest(), "little")


class _Writer:
    """Appends records to a temporary file beside `path`, renamed to it when the context ends cleanly."""

    def __init__(
        self,
        path: PathLike,
        kind: str,
        class_names: Sequence[str],
        palette: np.ndarray | None,
        attributes: Mapping[str, str],
    ) -> None:
        self.path = Path(path)
        self.class_names = tuple(class_names)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._ids: dict[str, None] = {}
        self._shapes: list[tuple[int, int, int]] = []
        self._offsets = [0]
        self._buffer = bytearray()
        self._written = 0
        # A fixed range of file format versions: another HDF5 release must not change the bytes.
        self._file = h5py.File(self._temporary, "w", libver=("v110", "v110"))
        self._file.attrs["format"] = kind
        self._file.attrs["version"] = VERSION
        self._put("class_names", np.array(self.class_names, dtype=_TEXT))
        if palette is not None:
            self._put("palette", palette)
        self._put("attributes", json.dumps(dict(sorted(attributes.items())), ensure_ascii=False))
        self._records = self._file.create_dataset(
            "records", (0,), np.uint8, maxshape=(None,), chunks=(_CHUNK,), track_times=False
        )

    def _put(self, name: str, data: np.ndarray | str) -> None:
        # Not `file[name] = data`: h5py links such a dataset only after writing it, and with 100 000 ids the
        # name then led to another dataset.
        self._file.create_dataset(name, data=data, track_times=False)

    def _append(self, image_id: str, shape: tuple[int, int, int], record: bytes) -> None:
        if image_id in self._ids:
            raise ValueError(f"{self.path}: image id {image_id!r} was added twice")
        if "\0" in image_id:
            raise ValueError(f"{self.path}: image id {image_id!r} holds a NUL character")
        self._ids[image_id] = None
        self._shapes.append(shape)
        self._offsets.append(self._offsets[-1] + len(record))
        self._buffer += record
        while len(self._buffer) >= _CHUNK:
            self._write_chunk(self._buffer[:_CHUNK])
            del self._buffer[:_CHUNK]

    def _write_chunk(self, data: bytearray) -> None:
        start = self._written
        self._written += _CHUNK
        self._records.resize((self._written,))
        self._records.id.write_direct_chunk((start,), bytes(data))

    def _finish(self) -> None:
        if self._buffer:
            self._write_chunk(self._buffer.ljust(_CHUNK, b"\0"))
        self._records.resize((self._offsets[-1],))
        ids = list(self._ids)
        hashes = np.array([_hash(i) for i in ids], dtype=np.uint64)
        rows = np.argsort(hashes, kind="stable").astype(np.int64)
        self._put("ids", np.array(ids, dtype=_TEXT))
        self._put("shapes", np.array(self._shapes, dtype=np.int32).reshape(-1, 3))
        self._put("offsets", np.array(self._offsets, dtype=np.int64))
        self._put("lookup_hash", hashes[rows])
        self._put("lookup_row", rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
            self._file.close()
            if kind is None:
                self._temporary.replace(self.path)
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


class LabelWriter(_Writer):
    """Writes label maps: `with LabelWriter(path, class_names=…, palette=…) as out: out.add(image_id, label)`.

    class_names: C names, background first. palette: (C, 3) uint8 RGB. attributes: kept with the data.
    The file appears under `path` when the context ends, and not at all after an exception.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        class_names: Sequence[str],
        palette: np.ndarray,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        palette = np.asarray(palette, dtype=np.uint8)
        wanted = (len(class_names), 3)
        if palette.shape != wanted:
            raise ValueError(f"palette has shape {palette.shape}, expected {wanted}: a colour for each class")
        super().__init__(path, LABELS, class_names, palette, attributes or {})

    def add(self, image_id: str, label: np.ndarray) -> None:
        """Append a map (H, W) uint8 of class ids, 255 = ignore; ValueError for other ids, types or shapes."""
        if label.ndim != 2 or label.dtype != np.uint8:
            raise ValueError(f"{image_id}: label is {label.dtype} {label.shape}, expected uint8 (H, W)")
        top, last = int(label.max(initial=0, where=label != IGNORE)), len(self.class_names) - 1
        if top > last:
            raise ValueError(f"{image_id}: class id {top}, accepted are 0..{last} and {IGNORE} for ignore")
        self._append(image_id, (1, *label.shape), zlib.compress(np.ascontiguousarray(label), 4))


class ScoreWriter(_Writer):
    """Writes the score maps of an image's present classes, quantised to 8 bits: the error is at most 1/510.

    Use and arguments as for LabelWriter, without a palette.
    """

    def __init__(
        self, path: PathLike, *, class_names: Sequence[str], attributes: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(path, SCORES, class_names, None, attributes or {})

    def add(self, image_id: str, classes: np.ndarray, scores: np.ndarray) -> None:
        """Append scores (k, H, W) of the class ids (k,), 0 = background; values are clipped to [0, 1]."""
        classes, scores = np.asarray(classes), np.asarray(scores)
        if scores.ndim != 3 or classes.shape != scores.shape[:1]:
            given = f"classes {classes.shape} and scores {scores.shape}"
            raise ValueError(f"{image_id}: {given}, expected (k,) and (k, H, W)")
        ids, last = classes.tolist(), len(self.class_names) - 1
        if len(set(ids)) != len(ids) or any(not 0 <= c <= last for c in ids):
            raise ValueError(f"{image_id}: class ids {ids}, expected different ids of 0..{last}")
        record = classes.astype("<u2").tobytes() + encode_scores(scores, image_id)
        self._append(image_id, scores.shape, record)


class _Store(Mapping[str, T], Generic[T]):
    """Random access by image id; 16 bytes an image in memory; the file is opened anew in each process."""

    _KIND: str

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._pid = -1
        self._load_header()

    def _load_header(self) -> None:
        with self._open() as f:
            found = f.attrs.get("format"), f.attrs.get("version")
            if found[0] not in (LABELS, SCORES):
                raise ValueError(f"{self.path}: an HDF5 file, but not written by wsss (no format mark)")
            if found != (self._KIND, VERSION):
                wanted = f"{self._KIND} version {VERSION}"
                raise ValueError(f"{self.path}: holds {found[0]} version {found[1]}, expected {wanted}")
            try:
                self.class_names: tuple[str, ...] = tuple(f["class_names"].asstr()[:].tolist())
                self.palette: np.ndarray | None = f["palette"][:] if "palette" in f else None
                self.attributes: dict[str, str] = json.loads(f["attributes"].asstr()[()])
                self._length = len(f["ids"])
            except (KeyError, OSError) as e:
                raise ValueError(f"{self.path}: damaged ({str(e).splitlines()[0]})") from None

    def _open(self) -> h5py.File:
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path}: no such file")
        try:
            return h5py.File(self.path, "r")
        except OSError as e:
            reason = str(e).splitlines()[0]
            raise ValueError(f"{self.path}: not a complete HDF5 file ({reason})") from None

    def _handle(self) -> dict[str, h5py.Dataset]:
        """Tables of the open file; a forked or unpickled copy must not share the parent's handle."""
        if self._pid != os.getpid():
            self._file = self._open()
            self._tables = {name: self._file[name] for name in ("ids", "shapes", "offsets", "records")}
            self._hashes, self._rows = self._file["lookup_hash"][:], self._file["lookup_row"][:]
            self._pid = os.getpid()
        return self._tables

    def _row(self, image_id: str) -> int:
        """Row of an id, or -1."""
        ids = self._handle()["ids"]
        key = np.uint64(_hash(image_id))
        first, last = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        for row in self._rows[first:last].tolist():
            if ids[row].decode() == image_id:
                return row
        return -1

    def _record(self, image_id: str) -> tuple[tuple[int, int, int], bytes]:
        """Shape and compressed bytes of an image."""
        row = self._row(image_id)
        if row < 0:
            raise KeyError(f"no image {image_id!r} in {self.path}")
        f = self._handle()
        k, height, width = f["shapes"][row].tolist()
        start, stop = f["offsets"][row : row + 2].tolist()
        try:
            return (k, height, width), f["records"][start:stop].tobytes()
        except OSError as e:
            raise self._damaged(image_id, e) from None

    def _damaged(self, image_id: str, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: image {image_id!r} is damaged ({str(error).splitlines()[0]})")

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._row(image_id) >= 0

    def __iter__(self) -> Iterator[str]:
        """Ids in the order in which they were written."""
        for start in range(0, self._length, 4096):
            yield from self._handle()["ids"].asstr()[start : start + 4096].tolist()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, object]:
        private = ("_file", "_tables", "_hashes", "_rows")
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


class LabelStore(_Store[np.ndarray]):
    """`store[image_id]` → (H, W) uint8 class ids, 255 = ignore; with class_names, palette and attributes."""

    _KIND = LABELS
    palette: np.ndarray

    def __getitem__(self, image_id: str) -> np.ndarray:
        (_, height, width), record = self._record(image_id)
        try:
            return np.frombuffer(bytearray(zlib.decompress(record)), np.uint8).reshape(height, width)
        except (zlib.error, ValueError) as e:
            raise self._damaged(image_id, e) from None


class ScoreStore(_Store[ScoreMap]):
    """`store[image_id]` → ScoreMap of the image's present classes; with class_names and attributes."""

    _KIND = SCORES

    def __getitem__(self, image_id: str) -> ScoreMap:
        shape, record = self._record(image_id)
        cut = 2 * shape[0]
        try:
            classes = np.frombuffer(record[:cut], "<u2").astype(np.int64)
            return ScoreMap(classes, decode_scores(record[cut:], shape))
        except ValueError as e:
            raise self._damaged(image_id, e) from None


def open_labels(path: PathLike) -> LabelStore:
    """Open a label file; ValueError if it is damaged or of another kind, FileNotFoundError if missing."""
    return LabelStore(path)


def open_scores(path: PathLike) -> ScoreStore:
    """Open a score file; ValueError if it is damaged or of another kind, FileNotFoundError if missing."""
    return ScoreStore(path)


def _open_any(path: PathLike) -> LabelStore | ScoreStore:
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as f:
            if f.attrs.get("format") == SCORES:
                return ScoreStore(path)
    return LabelStore(path)


def _header(store: LabelStore | ScoreStore) -> tuple[object, ...]:
    palette = None if store.palette is None else store.palette.tolist()
    return type(store), store.class_names, store.attributes, palette


def _locate(stores: Sequence[LabelStore | ScoreStore]) -> dict[str, int]:
    """Id → number of the store that holds it; ValueError if two do, or if their headers differ."""
    where: dict[str, int] = {}
    for i, store in enumerate(stores):
        if _header(store) != _header(stores[0]):
            both = f"{store.path} and {stores[0].path}"
            raise ValueError(f"{both} differ in kind, class names, palette or attributes")
        for image_id in store:
            if image_id in where:
                both = f"{stores[where[image_id]].path} and in {store.path}"
                raise ValueError(f"image {image_id!r} is both in {both}")
            where[image_id] = i
    return where


def merge(paths: Sequence[PathLike], out: PathLike, order: Sequence[str]) -> None:
    """Join shards to one file with the ids in the given order, copying compressed records as they are.

    The result depends on the content and the order alone, never on how the images were sharded. ValueError if
    an id of `order` is in no shard, if a shard holds an id that is not in `order`, or if the headers differ.
    """
    if not paths:
        raise ValueError("merge needs at least one shard, got none")
    with ExitStack() as stack:
        stores = [stack.enter_context(_open_any(p)) for p in paths]
        head, where = stores[0], _locate(stores)
        missing, extra = set(order) - set(where), set(where) - set(order)
        for problem, ids in (("in no shard", missing), ("in a shard but not in the order", extra)):
            if ids:
                raise ValueError(f"cannot merge to {out}: {len(ids)} images {problem}, first {min(ids)!r}")
        kind, palette = head._KIND, head.palette
        writer = stack.enter_context(_Writer(out, kind, head.class_names, palette, head.attributes))
        for image_id in order:
            writer._append(image_id, *stores[where[image_id]]._record(image_id))
