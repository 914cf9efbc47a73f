"""Writing of the HDF5 file that `wsss.store.maps` describes and reads: standard filters, a checksum for every chunk.

Chunks are compressed when a map is added and copied unchanged afterwards, so that merging shards compresses nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from wsss.runtime.files import write_atomically

VERSION = 4
CHUNK = 1 << 16
"""Bytes of `pixels` per HDF5 chunk. Each image begins a new chunk; its last one is padded with zeros."""
TEXT_CHUNK = 1 << 20
"""Most bytes of a chunk of texts, and of a column of any chunk that is read."""
LEVEL = 4
"""Deflate level: a fifth smaller than level 1, and as fast to read."""
FILTERS = {"compression": "gzip", "compression_opts": LEVEL, "fletcher32": True, "track_times": False}
"""Of every dataset: deflate, checksums, and no time stamp, so that equal content gives equal bytes."""
Shape = tuple[int, int, int]


class Header(NamedTuple):
    """The header of a file: its kind, class names, palette (labels only) and the writer's attributes."""

    kind: str
    class_names: tuple[str, ...]
    palette: list[list[int]] | None
    attributes: dict[str, str]

    @property
    def digest(self) -> str:
        """Digest of the whole header; HDF5 has no checksum for text."""
        return blake2b(json.dumps(self, sort_keys=True).encode(), digest_size=16).hexdigest()


class MapRecord(NamedTuple):
    """One image's maps. shape: (k, H, W); classes: k ids; chunks: the filtered chunks of the (k, H, W) bytes."""

    shape: Shape
    classes: tuple[int, ...]
    chunks: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The record as bytes, for the journal."""
        head = np.array([len(self.classes), len(self.chunks), *self.classes, *map(len, self.chunks)], "<u4")
        return head.tobytes() + b"".join(self.chunks)

    @classmethod
    def unpack(cls, shape: Shape, packed: bytes) -> MapRecord:
        """The inverse of `pack`."""
        count, chunks = np.frombuffer(packed, "<u4", 2).tolist()
        numbers = np.frombuffer(packed, "<u4", 2 + count + chunks)[2:].tolist()
        start, parts = 4 * (2 + count + chunks), []
        for size in numbers[count:]:
            parts.append(packed[start : start + size])
            start += size
        return cls(shape, tuple(numbers[:count]), tuple(parts))


def make_record(classes: Sequence[int], pixels: np.ndarray, level: int = LEVEL) -> MapRecord:
    """The record of maps (k, H, W) uint8 of k class ids. level: of deflate; 0 for bytes that do not compress."""
    data = np.ascontiguousarray(pixels).tobytes()
    return MapRecord(pixels.shape, tuple(classes), tuple(_filtered(chunk, level) for chunk in _chunks(data)))


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK].ljust(CHUNK, b"\0")


def _filtered(chunk: bytes, level: int) -> bytes:
    """A chunk as HDF5's filter pipeline stores it: deflated, then followed by its Fletcher32 checksum."""
    packed = zlib.compress(chunk, level)
    return packed + fletcher32(packed).to_bytes(4, "little")


def checked(chunk: bytes) -> bytes:
    """The filtered chunk, after a check of its checksum.

    Raises:
        ValueError: it is damaged.
    """
    if fletcher32(chunk[:-4]).to_bytes(4, "little") != chunk[-4:]:
        raise ValueError("its checksum is wrong")
    return chunk


def fletcher32(data: bytes) -> int:
    """HDF5's Fletcher32: two sums of big-endian 16-bit words, modulo 65535; an odd last byte is a word's high byte."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.int64)
    weights = np.arange(len(words), 0, -1)
    low, high = (_folded(int(total)) for total in (words.sum(), (words * weights).sum()))
    return high << 16 | low


def _folded(total: int) -> int:
    """A sum modulo 65535 with 65535 in the place of 0, except for a sum of 0."""
    return total and (total - 1) % 65535 + 1


def hash_id(image_id: str) -> int:
    """The first 8 bytes of the id's BLAKE2b digest, as an integer."""
    return int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest(), "little")


def put_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Adds a dataset (n,) of texts as UTF-8 padded to one length: HDF5 has no checksum for texts of variable length."""
    encoded = [text.encode(errors="surrogateescape") for text in texts]
    kind = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
    chunks = (max(1, min(len(texts), CHUNK, TEXT_CHUNK // kind.itemsize)),)
    file.create_dataset(name, data=np.array(encoded, kind), maxshape=(None,), chunks=chunks, **FILTERS)


def new_file(path: Path) -> h5py.File:
    """A new file, of a fixed range of format versions, so that other HDF5 releases write the same bytes."""
    return h5py.File(path, "w", libver=("v110", "v110"), locking=False)


def write_file(path: Path, header: Header, records: Iterable[tuple[str, MapRecord]]) -> None:
    """Writes a file atomically. records: (image id, record), in the order of the file."""

    def write(temporary: Path) -> None:
        with new_file(temporary) as file:
            _fill(file, header, records)

    write_atomically(path, write)


def _fill(file: h5py.File, header: Header, records: Iterable[tuple[str, MapRecord]]) -> None:
    file.attrs["format"], file.attrs["digest"] = np.bytes_(header.kind), np.bytes_(header.digest)
    file.attrs["version"] = VERSION
    put_texts(file, "class_names", header.class_names)
    attributes = json.dumps(dict(sorted(header.attributes.items())), ensure_ascii=False).encode()
    ids, shapes, classes = _fill_pixels(file, records)
    put_texts(file, "ids", ids)
    hashes = np.array([hash_id(i) for i in ids], dtype=np.uint64)
    rows = np.argsort(hashes, kind="stable").astype(np.int64)
    sizes = np.array([-(-np.prod(shape, dtype=np.int64) // CHUNK) * CHUNK for shape in shapes], np.int64)
    tables = {
        "attributes": np.frombuffer(attributes, np.uint8),
        "shapes": np.array(shapes, np.int32).reshape(-1, 3),
        "offsets": np.r_[0, np.cumsum(sizes)].astype(np.int64),
        "classes": np.array([c for members in classes for c in members], np.uint16),
        "class_offsets": np.r_[0, np.cumsum([len(members) for members in classes])].astype(np.int64),
        "lookup_hash": hashes[rows],
        "lookup_row": rows,
    }
    if header.palette is not None:
        tables["palette"] = np.array(header.palette, np.uint8).reshape(-1, 3)
    for name, table in tables.items():
        chunks = (min(max(len(table), 1), CHUNK), *table.shape[1:])
        file.create_dataset(name, data=table, maxshape=(None, *table.shape[1:]), chunks=chunks, **FILTERS)


def _fill_pixels(
    file: h5py.File, records: Iterable[tuple[str, MapRecord]]
) -> tuple[list[str], list[Shape], list[tuple[int, ...]]]:
    """Writes the dataset `pixels` chunk by chunk; returns the ids, shapes and classes of its images."""
    ids, shapes, classes = [], [], []
    pixels = file.create_dataset("pixels", (0,), np.uint8, maxshape=(None,), chunks=(CHUNK,), **FILTERS)
    written = 0
    for image_id, record in records:
        ids.append(image_id)
        shapes.append(record.shape)
        classes.append(record.classes)
        pixels.resize((written + len(record.chunks) * CHUNK,))
        for chunk in record.chunks:
            pixels.id.write_direct_chunk((written,), chunk)
            written += CHUNK
    return ids, shapes, classes
