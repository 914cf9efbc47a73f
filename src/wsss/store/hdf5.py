"""Writes the HDF5 file that `wsss.store.maps` describes and reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from wsss.runtime.files import write_atomically

VERSION = 2
_CHUNK = 1 << 16  # bytes of `records` per HDF5 chunk: what a random read costs at least
_TEXT = h5py.string_dtype("utf-8")
Shape = tuple[int, int, int]


class Header(NamedTuple):
    """What a file says once: its kind, class names, palette (labels only) and the writer's attributes."""

    kind: str
    class_names: tuple[str, ...]
    palette: list[list[int]] | None
    attributes: dict[str, str]


def hash_id(image_id: str) -> int:
    """First 8 bytes of the id's BLAKE2b."""
    return int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest(), "little")


def write_file(path: Path, header: Header, records: Iterable[tuple[str, Shape, bytes]]) -> None:
    """Write a whole file under another name, then give it its own."""

    def write(temporary: Path) -> None:
        # A fixed range of file format versions: another HDF5 release must not change the bytes.
        with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
            _fill(file, header, records)

    write_atomically(path, write)


def _fill(file: h5py.File, header: Header, records: Iterable[tuple[str, Shape, bytes]]) -> None:
    def put(name: str, data: np.ndarray | str) -> None:
        # Not `file[name] = data`: h5py links such a dataset only after writing it, and with 100 000 ids the
        # name then led to another dataset.
        file.create_dataset(name, data=data, track_times=False)

    file.attrs["format"] = header.kind
    file.attrs["version"] = VERSION
    put("class_names", np.array(header.class_names, dtype=_TEXT))
    if header.palette is not None:
        put("palette", np.array(header.palette, np.uint8))
    put("attributes", json.dumps(dict(sorted(header.attributes.items())), ensure_ascii=False))
    ids, shapes, offsets = _fill_records(file, records)
    hashes = np.array([hash_id(i) for i in ids], dtype=np.uint64)
    rows = np.argsort(hashes, kind="stable").astype(np.int64)
    put("ids", np.array(ids, dtype=_TEXT))
    put("shapes", np.array(shapes, dtype=np.int32).reshape(-1, 3))
    put("offsets", np.array(offsets, dtype=np.int64))
    put("lookup_hash", hashes[rows])
    put("lookup_row", rows)


def _fill_records(
    file: h5py.File, records: Iterable[tuple[str, Shape, bytes]]
) -> tuple[list[str], list[Shape], list[int]]:
    """Write the dataset `records` in whole chunks; ids, shapes and offsets of what it holds."""
    ids, shapes, offsets = [], [], [0]
    dataset = file.create_dataset("records", (0,), np.uint8, maxshape=(None,), chunks=(_CHUNK,), track_times=False)
    buffer, written = bytearray(), 0

    def write_chunk(chunk: bytes) -> None:
        nonlocal written
        dataset.resize((written + _CHUNK,))
        dataset.id.write_direct_chunk((written,), chunk)
        written += _CHUNK

    for image_id, shape, record in records:
        ids.append(image_id)
        shapes.append(shape)
        offsets.append(offsets[-1] + len(record))
        buffer += record
        whole = len(buffer) // _CHUNK * _CHUNK
        for start in range(0, whole, _CHUNK):
            write_chunk(bytes(buffer[start : start + _CHUNK]))
        del buffer[:whole]
    if buffer:
        write_chunk(bytes(buffer.ljust(_CHUNK, b"\0")))
    dataset.resize((offsets[-1],))
    return ids, shapes, offsets
