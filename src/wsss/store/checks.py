"""Integrity checks of an HDF5 file of maps, made before any of its bytes is read as a map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from wsss.runtime.files import regular
from wsss.store.hdf5 import CHUNK

_TEXTS = b"GCOL\1\0\0\0"
"""First bytes of a collection of HDF5's variable-length texts; its size follows in 8 bytes."""
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])
"""Reference to a variable-length text, as stored in a dataset."""
_HEAD = 1 << 16
"""Bytes at a file's beginning, where the texts of its attributes lie."""
_RAISED = (KeyError, IndexError, OSError, RuntimeError, TypeError, ValueError, MemoryError)
"""What h5py and numpy raise for damaged bytes."""


@contextmanager
def undamaged(path: Path, part: str = "") -> Iterator[None]:
    """Context of reading an open HDF5 file, in which damage becomes one line.

    part: what is read, e.g. `image 'a'`; empty: the file.

    Raises:
        ValueError: the file or the part is damaged.
    """
    try:
        yield
    except _RAISED as error:
        found = f"{part} is damaged" if part else "damaged"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: {found} ({reason})") from None


def open_whole(path: Path) -> h5py.File:
    """An HDF5 file to read from, without a lock.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is no complete HDF5 file, or cannot be locked where the environment demands a lock.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; accepted is an HDF5 file, e.g. make_pseudo_labels/train.h5 of a run")
    try:
        file = h5py.File(regular(path), "r", locking=False)
    except OSError as e:
        reason = str(e).splitlines()[0]
        if "unable to lock file" in reason:  # HDF5_USE_FILE_LOCKING in the environment goes before `locking`
            raise ValueError(
                f"{path}: cannot be locked ({reason}); its file system has no locks: "
                "unset HDF5_USE_FILE_LOCKING, or set it to FALSE"
            ) from None
        raise ValueError(f"{path}: not a complete HDF5 file ({reason})") from None
    try:
        with undamaged(path):
            require_texts(file, path)
    except ValueError:
        file.close()
        raise
    return file


def require_texts(f: h5py.File, path: Path) -> None:
    """Raises ValueError unless every collection of texts fits into the file: HDF5 allocates its size unchecked."""
    size = path.stat().st_size
    with path.open("rb") as file:
        starts = {found.start() for found in re.finditer(re.escape(_TEXTS), file.read(_HEAD))}
        starts.update(start for name in f for start in _collections(f, name, file))
        for start in sorted(starts):
            file.seek(start)
            found = file.read(16)
            if found[:8] != _TEXTS or start + int.from_bytes(found[8:], "little") > size:
                raise ValueError(f"texts at byte {start} do not fit into the file")


def _collections(f: h5py.File, name: str, file: BinaryIO) -> Iterator[int]:
    """Byte positions of the collections to which a dataset of texts refers, read without HDF5."""
    try:
        if not isinstance(f.get(name, getlink=True), h5py.HardLink) or not isinstance(dataset := f[name], h5py.Dataset):
            return
        kind, start, count = h5py.check_string_dtype(dataset.dtype), dataset.id.get_offset(), dataset.size
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        return  # the error is reported when the dataset is read
    if kind is None or kind.length is not None or start is None:
        return
    file.seek(start)
    data = file.read(_REFERENCE.itemsize * count)
    references = np.frombuffer(data[: len(data) // _REFERENCE.itemsize * _REFERENCE.itemsize], _REFERENCE)
    yield from np.unique(references["address"][references["length"] > 0]).tolist()


def require_own(f: h5py.File, name: str) -> None:
    """Raises ValueError unless the name is a dataset stored in this file: no link, virtual or external dataset."""
    if not isinstance(f.get(name, getlink=True), h5py.HardLink) or not isinstance(dataset := f[name], h5py.Dataset):
        raise ValueError(f"'{name}' is no dataset of this file but a link or a group")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"'{name}' takes its values from other files")


def require_small(f: h5py.File) -> None:
    """Raises ValueError unless the datasets that are read whole have the shapes and types that the writer gives."""
    if f["class_names"].ndim != 1 or len(f["class_names"]) > CHUNK or f["attributes"].shape != ():
        raise ValueError("class names or attributes are of another shape")
    if "palette" in f and (f["palette"].shape != (len(f["class_names"]), 3) or f["palette"].dtype != np.uint8):
        raise ValueError("the palette is of another shape")
    if f["ids"].ndim != 1 or f["pixels"].dtype != np.uint8:
        raise ValueError("ids or pixels are of another shape or type")


def require_all_chunks(dataset: h5py.Dataset) -> None:
    """Raises ValueError unless every chunk of a dataset is stored; HDF5 reads missing chunks as zeros."""
    if not dataset.chunks or not dataset.fletcher32:
        raise ValueError(f"'{dataset.name}' has no checksums")
    if dataset.chunks[0] > CHUNK or dataset.ndim > 2 or dataset.shape[1:] not in ((), (3,)):
        raise ValueError(f"'{dataset.name}' is of another shape")
    if dataset.chunks[1:] != dataset.shape[1:] or dataset.id.get_num_chunks() != -(-len(dataset) // dataset.chunks[0]):
        raise ValueError(f"'{dataset.name}' is not complete")
