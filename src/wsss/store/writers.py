"""Writers of the files that `wsss.store.maps` describes: maps go to a journal; at the end it becomes the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from wsss.runtime.labels import IGNORE
from wsss.store.hdf5 import LEVEL, Header, MapRecord, make_record, write_file
from wsss.store.journal import Journal
from wsss.store.maps import LABELS, LEVELS, SCORES, PathLike


class MapWriter:
    """Appends records to a journal beside `path`; the file itself is made when the context ends cleanly."""

    _LEVEL = LEVEL

    def __init__(self, path: PathLike, header: Header, resume: str | None) -> None:
        self.path, self.header, self._keep = Path(path), header, resume is not None
        head = header._asdict() | {"resume": resume}
        self._journal = Journal(_journal_path(self.path), head, resume=self._keep)
        self._earlier = frozenset(self._journal.entries)

    def __contains__(self, image_id: object) -> bool:
        """Whether the file has the map of an image, from this process or from the one that it resumes."""
        return image_id in self._journal.entries

    def __len__(self) -> int:
        return len(self._journal.entries)

    def append_pixels(self, image_id: str, classes: Sequence[int], pixels: np.ndarray) -> None:
        """Appends maps (k, H, W) uint8 of k class ids, unless an interrupted process did."""
        if image_id not in self._earlier:
            self.copy(image_id, make_record(classes, pixels, self._LEVEL))

    def copy(self, image_id: str, record: MapRecord) -> None:
        """Appends a record of another file of this kind, unless an interrupted process did."""
        if image_id in self._earlier:
            return
        if image_id in self:
            raise ValueError(f"{self.path}: image id {image_id!r} was added twice")
        if "\0" in image_id:
            raise ValueError(f"{self.path}: image id {image_id!r} holds a NUL character")
        self._journal.append(image_id, record.shape, record.pack())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            if kind is None:
                write_file(self.path, self.header, _unpacked(self._journal.records()))
        finally:
            if kind is None or not self._keep:
                self._journal.delete()
            else:
                self._journal.close()


def _unpacked(entries: Iterable[tuple[str, tuple[int, int, int], bytes]]) -> Iterator[tuple[str, MapRecord]]:
    for image_id, shape, packed in entries:
        yield image_id, MapRecord.unpack(shape, packed)


def _journal_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


class LabelWriter(MapWriter):
    """Writes label maps: `with LabelWriter(path, class_names=…, palette=…) as out: out.add(image_id, label)`.

    class_names: C names, background first. palette: (C, 3) uint8 RGB. attributes: stored in the header.
    resume: a text that identifies everything the maps depend on. Maps that an interrupted process with the same text
    added are then already in the file (`image_id in out`) and need not be added again.
    The file appears at `path` when the context ends, and not at all after an exception.
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
        """Append a map (H, W) uint8 of class ids, 255 = ignore; raises ValueError for other ids, types or shapes."""
        if label.ndim != 2 or label.dtype != np.uint8:
            raise ValueError(f"{image_id}: label is {label.dtype} {label.shape}, expected uint8 (H, W)")
        top, last = int(label.max(initial=0, where=label != IGNORE)), len(self.header.class_names) - 1
        if top > last:
            raise ValueError(f"{image_id}: class id {top}, accepted are 0..{last} and {IGNORE} for ignore")
        self.append_pixels(image_id, (), label[None])


class ScoreWriter(MapWriter):
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
        """Append scores (k, H, W) of the class ids (k,), 0 = background; values are clipped to [0, 1].

        Raises:
            ValueError: shapes that do not match, repeated or unknown class ids, or NaN.
        """
        classes, scores = np.asarray(classes), np.asarray(scores)
        if scores.ndim != 3 or classes.shape != scores.shape[:1]:
            given = f"classes {classes.shape} and scores {scores.shape}"
            raise ValueError(f"{image_id}: {given}, expected (k,) and (k, H, W)")
        ids, last = classes.tolist(), len(self.header.class_names) - 1
        if len(set(ids)) != len(ids) or any(not 0 <= c <= last for c in ids):
            raise ValueError(f"{image_id}: class ids {ids}, expected different ids of 0..{last}")
        if np.isnan(scores).any():
            raise ValueError(f"{image_id}: scores hold NaN")
        levels = (np.clip(scores, 0, 1) * np.float32(LEVELS) + np.float32(0.5)).astype(np.uint8)
        self.append_pixels(image_id, ids, levels)
