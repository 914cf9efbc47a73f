"""Proposals of many images in one HDF5 file, as runs of pixels, with access by image id.

Layout; `n` images with `M` masks and `R` runs in all, in the order of addition:

    attrs         format = "wsss-masks", version = 2
    ids           (n,) UTF-8 of fixed length
    sizes         (n, 2) int32: H, W
    mask_offsets  (n + 1,) int64: masks of image i are mask_offsets[i] … mask_offsets[i + 1] − 1
    level         (M,) uint8: 0 sub-part, 1 part, 2 whole
    run_offsets   (M + 1,) int64: runs of mask m are run_offsets[m] … run_offsets[m + 1] − 1
    starts, ends  (R,) uint32: pixels in COCO's order (columns from left to right), ends excluded

Filters are HDF5's own, deflate and Fletcher32. Equal masks in equal order give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from wsss.refine.proposals.masks import Masks
from wsss.runtime.files import regular, write_atomically
from wsss.store.checks import (
    attribute,
    open_whole,
    read_texts,
    require_all_chunks,
    require_own,
    require_texts,
    undamaged,
)
from wsss.store.hdf5 import FILTERS, new_file, put_texts

FORMAT, VERSION = "wsss-masks", 2
_TYPES = {"sizes": np.int32, "mask_offsets": np.int64, "level": np.uint8, "run_offsets": np.int64}
_TYPES |= {"starts": np.uint32, "ends": np.uint32}


def write_masks(path: Path, images: Iterable[tuple[str, Masks]]) -> int:
    """Writes a file of (image id, masks) atomically; returns the number of images."""
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        with new_file(temporary) as file:
            count = _fill(file, images)

    write_atomically(path, write)
    return count


def is_masks(path: Path) -> bool:
    """Whether a file is one of masks, of any version."""
    try:
        with h5py.File(regular(path), "r", locking=False) as file:
            return attribute(file, "format") == FORMAT
    except (KeyError, OSError, RuntimeError, ValueError):
        return False


def _fill(file: h5py.File, images: Iterable[tuple[str, Masks]]) -> int:
    file.attrs["format"], file.attrs["version"] = np.bytes_(FORMAT), VERSION
    for name, kind in _TYPES.items():
        shape = (2,) if name == "sizes" else ()
        first = int(name.endswith("offsets"))  # offsets begin with 0
        file.create_dataset(name, (first, *shape), kind, maxshape=(None, *shape), chunks=(4096, *shape), **FILTERS)
    ids = []
    for image_id, masks in images:
        ids.append(image_id)
        runs = np.cumsum(np.bincount(masks.owner, minlength=masks.count)) + len(file["starts"])
        _append(file["sizes"], [masks.size])
        _append(file["run_offsets"], runs)
        _append(file["level"], masks.level)
        _append(file["mask_offsets"], [len(file["level"])])
        _append(file["starts"], masks.starts)
        _append(file["ends"], masks.ends)
    file.attrs["ids"] = np.bytes_(_digest(ids))
    put_texts(file, "ids", ids)
    return len(ids)


def _digest(ids: list[str]) -> str:
    """Digest of image ids; HDF5 has no checksum for text."""
    return blake2b("\0".join(ids).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _append(table: h5py.Dataset, rows: Iterable) -> None:
    rows = np.asarray(rows)
    table.resize(len(table) + len(rows), 0)
    table[len(table) - len(rows) :] = rows


class MaskStore:
    """Reads a file of `write_masks`: `with MaskStore(path) as store: store.get(image_id)`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged, or no file of masks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._file = open_whole(self.path)
        try:
            self._rows = {image_id: row for row, image_id in enumerate(self._ids())}
        except ValueError:
            self._file.close()
            raise
        return self

    def _ids(self) -> list[str]:
        with undamaged(self.path):
            found = attribute(self._file, "format"), attribute(self._file, "version")
        if found != (FORMAT, VERSION):
            raise ValueError(f"{self.path}: holds no masks of version {VERSION}; `wsss masks` writes them")
        with undamaged(self.path):
            for name in self._file:
                require_own(self._file, name)
                require_all_chunks(self._file[name])
            require_texts(self._file["ids"])
            ids = list(read_texts(self._file["ids"]))
            if attribute(self._file, "ids") != _digest(ids):
                raise ValueError("image ids are not those that were written")
        return ids

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._rows)

    def require(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        """Checks that the masks are of these images. sizes: image id → (H, W).

        Raises:
            ValueError: there are masks of none of the images, or masks of another size.
        """
        known = [image_id for image_id in sizes if image_id in self._rows]
        if not known:
            held, asked = next(iter(self._rows), "none"), next(iter(sizes), "none")
            raise ValueError(
                f"{self.path}: masks of {len(self)} images, none of which is an image of the run: its ids are such "
                f"as '{held}', of the run such as '{asked}'"
            )
        with undamaged(self.path, "sizes"):
            found = self._file["sizes"][:]
        for image_id in known:
            self._require_size(image_id, tuple(found[self._rows[image_id]].tolist()), sizes[image_id])

    def get(self, image_id: str, size: tuple[int, int]) -> Masks | None:
        """An image's masks; None if the file has none for it.

        Raises:
            ValueError: the masks are of another size (H, W), or damaged.
        """
        row = self._rows.get(image_id)
        if row is None:
            return None
        with undamaged(self.path, f"image '{image_id}'"):
            found = self._read(row)
        self._require_size(image_id, found.size, size)
        return found

    def _require_size(self, image_id: str, found: tuple[int, int], size: tuple[int, int]) -> None:
        if found != tuple(size):
            raise ValueError(
                f"{self.path}: masks of image '{image_id}' are {found[0]} × {found[1]}; the image is "
                f"{size[0]} × {size[1]} (height × width)"
            )

    def _read(self, row: int) -> Masks:
        file = self._file
        first, last = file["mask_offsets"][row : row + 2].tolist()
        bounds = file["run_offsets"][first : last + 1]
        runs = slice(int(bounds[0]), int(bounds[-1]))
        starts, ends = (file[name][runs].astype(np.int64) for name in ("starts", "ends"))
        owner = np.repeat(np.arange(last - first), np.diff(bounds))
        size = tuple(file["sizes"][row].tolist())
        return Masks(size, starts, ends, owner, last - first, file["level"][first:last].astype(np.int64))
