"""A data set as every stage sees it: a table (image id, paths, labels, split) and class names.

`index.csv` has one row an image: image_id, image, mask, labels, split, measured, height, width. `labels`
holds class names joined by `;`; `mask` is empty where there is none; `measured` is 1 where the mask measures
seeds; height and width are pixels.
`dataset.json` holds the name, the class names (background first) and the palette. Relative paths start at
the folder of the table where they exist there, else at the working directory.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from wsss.runtime.files import write_atomically

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # up to MAX_PIXELS nothing is wrong
MAX_PIXELS = 2 * Image.MAX_IMAGE_PIXELS
"""Pillow refuses larger images as decompression bombs (178,956,970 pixels)."""
COLUMNS = ("image_id", "image", "mask", "labels", "split", "measured", "height", "width")


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
    """The table in `folder`, made by the stage prepare_data."""

    folder: Path

    @cached_property
    def _info(self) -> dict:
        path = self.folder / "dataset.json"
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); delete its folder to make it again") from None
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
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            try:
                return [self._record(row, position) for row in reader]
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                line = f"{path} line {reader.line_num}"
                raise ValueError(f"{line}: damaged ({error!r}); delete its folder to make it again") from None

    def split(self, name: str) -> list[Record]:
        """The images of `train` or `val`."""
        return [r for r in self.records if r.split == name]

    def _record(self, row: dict[str, str], position: dict[str, int]) -> Record:
        labels = np.zeros(len(position), np.float32)
        labels[[position[name] for name in row["labels"].split(";") if name]] = 1
        mask = self._path(row["mask"]) if row["mask"] else None
        return Record(
            image_id=row["image_id"],
            image=self._path(row["image"]),
            mask=mask,
            labels=labels,
            split=row["split"],
            measured=row["measured"] == "1",
            size=(int(row["height"]), int(row["width"])),
        )

    def _path(self, text: str) -> Path:
        return _resolve(self.folder, text)


def _resolve(folder: Path, text: str) -> Path:
    inside = folder / text
    return inside if inside.exists() else Path(text)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width as `read_image` will give them, from the header alone.

    Raises:
        ValueError: not an image, or one of more than MAX_PIXELS.
    """
    with readable(path), Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size if turned else image.size[::-1]


@contextmanager
def readable(path: Path, what: str = "image") -> Iterator[None]:
    """Turns what Pillow raises for a bad file into one line."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: more than {MAX_PIXELS:,} pixels; cut it into tiles or shrink it") from None
    except Exception as error:  # a broken file may lead Pillow's readers anywhere
        raise ValueError(f"{path}: not a readable {what} ({str(error) or type(error).__name__})") from error


def write_index(
    folder: Path, name: str, class_names: list[str], palette: np.ndarray, rows: list[dict[str, str]]
) -> None:
    """Writes dataset.json and index.csv, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(lambda row: image_size(_resolve(folder, row["image"])), rows))
    rows = [row | {"height": h, "width": w} for row, (h, w) in zip(rows, sizes, strict=True)]
    info = {"name": name, "class_names": class_names, "palette": palette[: len(class_names)].tolist()}
    write_atomically(folder / "dataset.json", json.dumps(info, indent=1, ensure_ascii=False))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "index.csv", text.getvalue())


def read_image(path: Path) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, turned as its EXIF tag says; what is transparent becomes white.

    Raises:
        ValueError: the file is not a whole image.
    """
    with readable(path), Image.open(path) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):  # Pillow would cut 16-bit greys off at 255
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        if turned.has_transparency_data:
            ground = Image.new("RGBA", turned.size, "white")
            turned = Image.alpha_composite(ground, turned.convert("RGBA"))
        return np.array(turned.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """A palette or grey mask as (H, W) uint8 class ids, 255 = void.

    Raises:
        ValueError: the file is not a whole image, or has colours instead of class ids.
    """
    with readable(path, "mask"), Image.open(path) as image:
        mode, ids = image.mode, np.array(image)
    if mode not in ("P", "L"):
        raise ValueError(f"{path}: mode {mode}; a mask is a palette (P) or grey (L) image")
    return ids
