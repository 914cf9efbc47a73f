"""Label maps and score maps of a data set in one HDF5 file, with random access by image id.

Layout (format version 2); `n` images, in the order in which they were added:

    attrs            format = "wsss-labels" | "wsss-scores", version = 2
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
uint16 class ids, then what `wsss.store.codec` describes. Ids are data, never HDF5 or file names, so that they may
hold any character but NUL. Nothing in a file depends on the time, the machine or the number of shards: equal
content in equal order gives equal bytes. (HDF5 groups bear a time stamp, so there are none.)
"""

from __future__ import annotations

import json
import os
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

import h5py
import numpy as np

from wsss.store.codec import decode_scores, encode_scores
from wsss.store.hdf5 import VERSION, Header, hash_id, write_file
from wsss.store.journal import Journal, read_journal

IGNORE = 255
LABELS, SCORES = "wsss-labels", "wsss-scores"
PathLike = str | os.PathLike[str]
T = TypeVar("T")


class ScoreMap(NamedTuple):
    """classes: (k,) int64 class ids; scores: (k, H, W) float32 in [0, 1]."""

    classes: np.ndarray
    scores: np.ndarray


class UnknownImage(KeyError, ValueError):
    """An id that a file does not hold; the text is one line."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Writer:
    """Appends records to a journal beside `path`; the file itself is made when the context ends cleanly."""

    def __init__(self, path: PathLike, header: Header, resume: str | None) -> None:
        self.path, self.header, self._keep = Path(path), header, resume is not None
        head = header._asdict() | {"resume": resume}
        self._journal = Journal(_journal_path(self.path), head, resume=self._keep)
        self._earlier = frozenset(self._journal.entries)

    def __contains__(self, image_id: object) -> bool:
        """Whether the map of an image is in the file, from this process or from the one that it resumes."""
        return image_id in self._journal.entries

    def __len__(self) -> int:
        return len(self._journal.entries)

    def _append(self, image_id: str, shape: tuple[int, int, int], record: bytes) -> None:
        if image_id in self._earlier:
            return
        if image_id in self:
            raise ValueError(f"{self.path}: image id {image_id!r} was added twice")
        if "\0" in image_id:
            raise ValueError(f"{self.path}: image id {image_id!r} holds a NUL character")
        self._journal.append(image_id, shape, record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                write_file(self.path, self.header, self._journal.records())
        finally:
            if kind is None or not self._keep:
                self._journal.delete()
            else:
                self._journal.close()


def _journal_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


class LabelWriter(_Writer):
    """Writes label maps: `with LabelWriter(path, class_names=…, palette=…) as out: out.add(image_id, label)`.

    class_names: C names, background first. palette: (C, 3) uint8 RGB. attributes: kept with the data.
    resume: any text that stands for all that the maps depend on. What an earlier process with the same text had
    added before it was stopped is then in the file already (`image_id in out`) and need not be added again.
    The file appears under `path` when the context ends, and not at all after an exception. After a kill, `recover`
    makes it of the maps that had been added.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        class_names: Sequence[str],
        palette: np.ndarray,
        attributes: Mapping[str, str] | None = None,
        resume: str | None = None,
    ) -> None:
        palette = np.asarray(palette, dtype=np.uint8)
        wanted = (len(class_names), 3)
        if palette.shape != wanted:
            raise ValueError(f"palette has shape {palette.shape}, expected {wanted}: a colour for each class")
        super().__init__(path, Header(LABELS, tuple(class_names), palette.tolist(), dict(attributes or {})), resume)

    def add(self, image_id: str, label: np.ndarray) -> None:
        """Append a map (H, W) uint8 of class ids, 255 = ignore; ValueError for other ids, types or shapes."""
        if label.ndim != 2 or label.dtype != np.uint8:
            raise ValueError(f"{image_id}: label is {label.dtype} {label.shape}, expected uint8 (H, W)")
        top, last = int(label.max(initial=0, where=label != IGNORE)), len(self.header.class_names) - 1
        if top > last:
            raise ValueError(f"{image_id}: class id {top}, accepted are 0..{last} and {IGNORE} for ignore")
        self._append(image_id, (1, *label.shape), zlib.compress(np.ascontiguousarray(label), 4))


class ScoreWriter(_Writer):
    """Writes the score maps of an image's present classes, quantised to 8 bits: the error is at most 1/510.

    Use and arguments as for LabelWriter, without a palette.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        class_names: Sequence[str],
        attributes: Mapping[str, str] | None = None,
        resume: str | None = None,
    ) -> None:
        super().__init__(path, Header(SCORES, tuple(class_names), None, dict(attributes or {})), resume)

    def add(self, image_id: str, classes: np.ndarray, scores: np.ndarray) -> None:
        """Append scores (k, H, W) of the class ids (k,), 0 = background; values are clipped to [0, 1]."""
        classes, scores = np.asarray(classes), np.asarray(scores)
        if scores.ndim != 3 or classes.shape != scores.shape[:1]:
            given = f"classes {classes.shape} and scores {scores.shape}"
            raise ValueError(f"{image_id}: {given}, expected (k,) and (k, H, W)")
        ids, last = classes.tolist(), len(self.header.class_names) - 1
        if len(set(ids)) != len(ids) or any(not 0 <= c <= last for c in ids):
            raise ValueError(f"{image_id}: class ids {ids}, expected different ids of 0..{last}")
        record = classes.astype("<u2").tobytes() + encode_scores(scores, image_id)
        self._append(image_id, scores.shape, record)


class _Store(Mapping[str, T], Generic[T]):
    """Random access by image id; 36 bytes an image in memory; the file is opened anew in each process."""

    _KIND: str

    def __init__(self, path: PathLike, class_names: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._pid = -1
        self._load_header()
        if class_names is not None and tuple(class_names) != self.class_names:
            both = f"its classes are {_listed(self.class_names)}, the data set's {_listed(class_names)}"
            raise ValueError(f"{self.path}: of another run or data set: {both}")

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
            self._tables = {name: self._file[name] for name in ("ids", "records")}
            self._shapes, self._offsets = self._file["shapes"][:], self._file["offsets"][:]
            self._hashes, self._rows = self._file["lookup_hash"][:], self._file["lookup_row"][:]
            self._pid = os.getpid()
        return self._tables

    def _row(self, image_id: str) -> int:
        """Row of an id, or -1. Ids are compared where two have one hash; else 64 bits of it tell enough."""
        ids = self._handle()["ids"]
        key = np.uint64(hash_id(image_id))
        first, last = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        rows = self._rows[first:last].tolist()
        if len(rows) == 1:
            return rows[0]
        for row in rows:
            if ids[row].decode() == image_id:
                return row
        return -1

    def _record(self, image_id: str) -> tuple[tuple[int, int, int], memoryview]:
        """Shape and compressed bytes of an image."""
        row = self._row(image_id)
        if row < 0:
            raise UnknownImage(f"{self.path}: no image {image_id!r} in it; the file is of another run or data set")
        k, height, width = self._shapes[row].tolist()
        start, stop = self._offsets[row : row + 2].tolist()
        try:
            return (k, height, width), self._tables["records"][start:stop].data
        except OSError as e:
            raise self._damaged(image_id, e) from None

    @abstractmethod
    def _decode(self, image_id: str, shape: tuple[int, int, int], record: memoryview) -> T:
        """The image's map from its shape and compressed bytes; ValueError if they are damaged."""

    def __getitem__(self, image_id: str) -> T:
        return self._decode(image_id, *self._record(image_id))

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
        private = ("_file", "_tables", "_shapes", "_offsets", "_hashes", "_rows")
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

    def _decode(self, image_id: str, shape: tuple[int, int, int], record: memoryview) -> np.ndarray:
        try:
            return np.frombuffer(bytearray(zlib.decompress(record)), np.uint8).reshape(shape[1:])
        except (zlib.error, ValueError) as e:
            raise self._damaged(image_id, e) from None


class ScoreStore(_Store[ScoreMap]):
    """`store[image_id]` → ScoreMap of the image's present classes; with class_names and attributes."""

    _KIND = SCORES

    def _decode(self, image_id: str, shape: tuple[int, int, int], record: memoryview) -> ScoreMap:
        cut = 2 * shape[0]
        try:
            classes = np.frombuffer(record[:cut], "<u2").astype(np.int64)
            return ScoreMap(classes, decode_scores(record[cut:], shape))
        except ValueError as e:
            raise self._damaged(image_id, e) from None


def open_labels(path: PathLike, class_names: Sequence[str] | None = None) -> LabelStore:
    """Open a label file, which must be of these classes if they are given.

    Raises:
        ValueError: it is damaged, of another kind or of other classes.
        FileNotFoundError: there is none.
    """
    return LabelStore(path, class_names)


def open_scores(path: PathLike, class_names: Sequence[str] | None = None) -> ScoreStore:
    """Open a score file, which must be of these classes if they are given; raises as `open_labels`."""
    return ScoreStore(path, class_names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "")


def open_any(path: PathLike, class_names: Sequence[str] | None = None) -> LabelStore | ScoreStore:
    """Open a label or a score file, whichever it is; raises as `open_labels`."""
    if h5py.is_hdf5(path):
        with suppress(OSError), h5py.File(path, "r") as f:
            if f.attrs.get("format") == SCORES:
                return ScoreStore(path, class_names)
    return LabelStore(path, class_names)


def _header(store: LabelStore | ScoreStore) -> Header:
    palette = None if store.palette is None else store.palette.tolist()
    return Header(store._KIND, store.class_names, palette, store.attributes)


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
        stores = [stack.enter_context(open_any(p)) for p in paths]
        where = _locate(stores)
        missing, extra = set(order) - set(where), set(where) - set(order)
        for problem, ids in (("in no shard", missing), ("in a shard but not in the order", extra)):
            if ids:
                raise ValueError(f"cannot merge to {out}: {len(ids)} images {problem}, first {min(ids)!r}")
        if len(set(order)) != len(order):
            raise ValueError(f"cannot merge to {out}: an id stands twice in the order")
        records = ((image_id, *stores[where[image_id]]._record(image_id)) for image_id in order)
        write_file(Path(out), _header(stores[0]), records)


def recover(path: PathLike) -> int:
    """Make the file `path` of what a killed writer had added; how many maps that are.

    FileNotFoundError if no writer of `path` was killed. The writer may still resume: its journal stays.
    """
    head, records = read_journal(_journal_path(Path(path)))
    head.pop("resume")
    write_file(Path(path), Header(**head), records)
    return len(records)
