"""The data set of a run: a table (image id, paths, labels, split) and class names.

`index.csv` has one row per image: image_id, image, mask, labels, split, measured, height, width. `labels` are class
names joined by `;`; `mask` is empty if there is none; `measured` is 1 if the mask is used for evaluation; height and
width are pixels.

`dataset.json` has the name, the class names (background first), the palette, the number of images and, if images are
outside the folder, the relative path from it to the working directory in which it was made. A relative path of the
table is resolved against the first of these in which it exists: the table's folder, that working directory, the
current one.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wsss.data.images import image_size, read_image, read_mask
from wsss.runtime.cells import csv_text, unescaped
from wsss.runtime.files import regular, write_atomically
from wsss.runtime.records import AGAIN, read_record, require_sealed

__all__ = ["COLUMNS", "Dataset", "Record", "image_size", "read_image", "read_mask", "write_index"]
COLUMNS = ("image_id", "image", "mask", "labels", "split", "measured", "height", "width")

SPLITS = ("train", "val")
LINKS = 40
"""Largest number of links followed in a chain, as in the kernel."""


@dataclass(frozen=True)
class Record:
    """One image. labels: (K,) float32 in {0, 1}, without background; size: height and width in pixels."""

    image_id: str
    image: Path
    mask: Path | None
    labels: np.ndarray
    split: str
    measured: bool
    size: tuple[int, int]

    @property
    def classes(self) -> np.ndarray:
        """Ids of the present classes, 1..K."""
        return np.flatnonzero(self.labels) + 1


@dataclass(frozen=True)
class Dataset:
    """The table in `folder`, written by the stage prepare_data."""

    folder: Path

    @cached_property
    def _info(self) -> dict:
        path = self.folder / "dataset.json"
        info = read_record(path, name=str, class_names=list, palette=list)
        colours = [c for c in info["palette"] if isinstance(c, list) and len(c) == 3 and all(map(_is_level, c))]
        if len(colours) != len(info["class_names"]) or not all(isinstance(n, str) for n in info["class_names"]):
            raise ValueError(f"{path}: damaged (not a name and a colour for each class); {AGAIN}")
        return info

    @property
    def name(self) -> str:
        return self._info["name"]

    @property
    def class_names(self) -> list[str]:
        """C names, background first."""
        return self._info["class_names"]

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8."""
        return np.array(self._info["palette"], np.uint8)

    @cached_property
    def records(self) -> list[Record]:
        """Every image, in the table's order."""
        position = {name: i for i, name in enumerate(self.class_names[1:])}
        path = self.folder / "index.csv"
        found: dict[str, Record] = {}
        content = regular(path).read_bytes()
        try:
            require_sealed(path, content)
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); {AGAIN}") from None
        with io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                if next(reader, None) != list(COLUMNS):
                    raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
                for cells in reader:
                    row = dict(zip(COLUMNS, map(unescaped, cells), strict=True))
                    record = self._record(row, position)
                    if found.setdefault(record.image_id, record) is not record:
                        raise ValueError(f"image {record.image_id!r} occurs twice")
            except (KeyError, ValueError, csv.Error) as error:
                raise ValueError(f"{path} line {reader.line_num}: damaged ({error!r}); {AGAIN}") from None
        if len(found) != self._info.get("images", len(found)) or not found:
            raise ValueError(f"{path}: damaged (it has {len(found)} images, not those that were written); {AGAIN}")
        return list(found.values())

    def split(self, name: str) -> list[Record]:
        """The images of `train` or `val`."""
        return [r for r in self.records if r.split == name]

    def record(self, image_id: str) -> Record:
        """The image of this id; ValueError if there is none."""
        for record in self.records:
            if record.image_id == image_id:
                return record
        raise ValueError(f"no image '{image_id}' in {self.name}; ids are in {self.folder / 'index.csv'}")

    def _record(self, row: dict[str, str], position: dict[str, int]) -> Record:
        labels = np.zeros(len(position), np.float32)
        labels[[position[name] for name in row["labels"].split(";") if name]] = 1
        mask = self._path(row["mask"]) if row["mask"] else None
        if not row["image_id"] or not row["image"] or row["split"] not in SPLITS or row["measured"] not in ("0", "1"):
            raise ValueError("an id, an image, a split and 0 or 1 are needed")
        return Record(
            image_id=row["image_id"],
            image=self._path(row["image"]),
            mask=mask,
            labels=labels,
            split=row["split"],
            measured=row["measured"] == "1",
            size=(int(row["height"]), int(row["width"])),
        )

    @cached_property
    def _path(self) -> Callable[[str], Path]:
        return _Places(self.folder, self._info.get("root"))


def _is_level(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= 255


class _Places:
    """Resolves relative paths of a table; the base is searched once for each first path component."""

    def __init__(self, folder: Path, root: str | None) -> None:
        home = _home(folder, root) if root else Path()
        elsewhere = [home] if home.is_dir() and not home.samefile(Path()) else []
        self.starts = [folder, *elsewhere, Path()]
        self.known: dict[str, list[Path]] = {}

    def __call__(self, text: str) -> Path:
        first = text.partition("/")[0]
        if first not in self.known:
            self.known[first] = [start for start in self.starts if first and (start / first).exists()]
        starts = self.known[first]
        if len(starts) == 1:
            return starts[0] / text
        return next((start / text for start in starts if (start / text).exists()), Path(text))


def _home(folder: Path, root: str) -> Path:
    """The working directory in which a table was made; `results` itself may be a link to another disk."""
    place = os.path.abspath(folder)  # noqa: PTH100 (links above the folder stay as they are)
    for _ in range(LINKS):
        if not Path(place).is_symlink():
            break
        place = os.path.normpath(Path(place).parent / Path(place).readlink())
    return Path(os.path.normpath(Path(place) / root))


def write_index(
    folder: Path, name: str, class_names: list[str], palette: np.ndarray, rows: list[dict[str, str]]
) -> None:
    """Writes dataset.json and index.csv, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    place = _Places(folder, None)
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(lambda row: image_size(place(row["image"])), rows))
    rows = [row | {"height": h, "width": w} for row, (h, w) in zip(rows, sizes, strict=True)]
    info = {"name": name, "class_names": class_names, "palette": palette[: len(class_names)].tolist()}
    info["images"] = len(rows)
    paths = (Path(row[key]) for row in rows for key in ("image", "mask") if row[key])
    if any(not path.is_absolute() and not (folder / path).exists() for path in paths):
        info["root"] = os.path.relpath(Path(), folder)
    write_atomically(folder / "dataset.json", json.dumps(info, indent=1, ensure_ascii=False))
    text = csv_text([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)])
    write_atomically(folder / "index.csv", text)
