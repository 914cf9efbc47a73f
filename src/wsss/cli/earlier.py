"""What earlier calls of `wsss predict` wrote to a folder: masks of which images, and of which classes."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from wsss.runtime.cells import unescaped


def images_of_masks(out: Path, images: dict[Path, Path], class_names: Sequence[str]) -> dict[str, str]:
    """Mask → its image, absolute, of the masks in a folder and of new ones. images: image → mask below the folder.

    Raises:
        ValueError: the folder holds masks of other classes, or the masks of other images under the new ones' names.
    """
    classes = [unescaped(cells[1]) for cells in _rows(out / "classes.csv")]
    if classes and classes != list(class_names):
        raise ValueError(f"{out}: holds masks of other classes, {', '.join(classes[1:4])} …; choose another --out")
    made = {unescaped(mask): unescaped(image) for mask, image in _rows(out / "images.csv")}
    for image, mask in images.items():
        other = Path(made.get(mask.as_posix(), image))
        if other.is_file() and image.is_file() and (out / mask).is_file() and not other.samefile(image):
            raise ValueError(f"{out / mask}: is the mask of {other}; for that of {image}, choose another --out")
    return made | {mask.as_posix(): os.path.abspath(image) for image, mask in images.items()}  # noqa: PTH100


def _rows(path: Path) -> list[list[str]]:
    """The rows of a table without its header; none if it is not there.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: damaged ({error}); choose another --out, or remove it") from None
    return [row for row in rows if len(row) == len(header)]
