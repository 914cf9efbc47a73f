"""Integrity checks of an HDF5 file of maps, made before any of its bytes is read as a map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from wsss.runtime.files import regular
from wsss.store.hdf5 import CHUNK, TEXT_CHUNK

LONGEST_ATTRIBUTE = 1 << 10
"""Bytes; those of the files here are shorter."""
LARGEST_HEADER = 1 << 24
"""Bytes that class names or attributes take in memory."""
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
        return h5py.File(regular(path), "r", locking=False)
    except OSError as e:
        reason = str(e).splitlines()[0]
        if "unable to lock file" in reason:  # HDF5_USE_FILE_LOCKING in the environment goes before `locking`
            raise ValueError(
                f"{path}: cannot be locked ({reason}); its file system has no locks: "
                "unset HDF5_USE_FILE_LOCKING, or set it to FALSE"
            ) from None
        raise ValueError(f"{path}: not a complete HDF5 file ({reason})") from None


def attribute(f: h5py.File, name: str) -> str | int | None:
    """An attribute of a file: an integer, or a text of fixed length; None where there is none such.

    Texts of variable length are never read: HDF5 follows their sizes without a check.
    """
    if name not in f.attrs:
        return None
    about = f.attrs.get_id(name)
    if about.shape != () or about.dtype.kind not in "iuS" or about.dtype.itemsize > LONGEST_ATTRIBUTE:
        return None
    value = f.attrs[name]
    return value.decode() if isinstance(value, bytes) else int(value)


def require_texts(dataset: h5py.Dataset) -> None:
    """Raises ValueError unless a dataset is a row of texts of fixed length, with a checksum for every chunk."""
    kind = h5py.check_string_dtype(dataset.dtype)
    if kind is None or kind.length is None or dataset.ndim != 1:
        raise ValueError(f"'{dataset.name}' holds no texts of fixed length")
    require_all_chunks(dataset)


def read_texts(dataset: h5py.Dataset) -> Iterator[str]:
    """The texts of a dataset of which `require_texts` holds, a chunk at a time."""
    for start in range(0, len(dataset), dataset.chunks[0]):
        yield from dataset.asstr(errors="surrogateescape")[start : start + dataset.chunks[0]].tolist()


def require_own(f: h5py.File, name: str) -> None:
    """Raises ValueError unless the name is a dataset stored in this file: no link, virtual or external dataset."""
    if not isinstance(f.get(name, getlink=True), h5py.HardLink) or not isinstance(dataset := f[name], h5py.Dataset):
        raise ValueError(f"'{name}' is no dataset of this file but a link or a group")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"'{name}' takes its values from other files")


def require_small(f: h5py.File) -> None:
    """Raises ValueError unless the datasets that are read whole have the shapes and types that the writer gives."""
    names, attributes = f["class_names"], f["attributes"]
    require_texts(names)
    require_texts(f["ids"])
    if len(names) > CHUNK or max(names.nbytes, attributes.nbytes) > LARGEST_HEADER or attributes.ndim != 1:
        raise ValueError("class names or attributes are of another shape")
    require_all_chunks(attributes)
    if "palette" in f:
        if f["palette"].shape != (len(names), 3) or f["palette"].dtype != np.uint8:
            raise ValueError("the palette is of another shape")
        require_all_chunks(f["palette"])
    if f["pixels"].dtype != np.uint8 or attributes.dtype != np.uint8:
        raise ValueError("pixels or attributes are of another type")


def require_all_chunks(dataset: h5py.Dataset) -> None:
    """Raises ValueError unless every chunk of a dataset is stored; HDF5 reads missing chunks as zeros."""
    if not dataset.chunks or not dataset.fletcher32:
        raise ValueError(f"'{dataset.name}' has no checksums")
    rows = dataset.chunks[0]
    if rows > CHUNK or rows * dataset.dtype.itemsize > TEXT_CHUNK or dataset.shape[1:] not in ((), (2,), (3,)):
        raise ValueError(f"'{dataset.name}' is of another shape")
    if dataset.chunks[1:] != dataset.shape[1:] or dataset.id.get_num_chunks() != -(-len(dataset) // rows):
        raise ValueError(f"'{dataset.name}' is not complete")
