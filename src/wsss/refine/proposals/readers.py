"""Reading of one image's proposals: SAM's `amg.py --convert-to-rle`, COCO run lengths, folders of PNGs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsss.config.messages import shortened
from wsss.data.files import files_below
from wsss.data.images import readable
from wsss.data.intact import opened
from wsss.data.names import id_problem
from wsss.data.rle import run_lengths
from wsss.data.text import read_text
from wsss.refine.proposals.masks import Masks
from wsss.runtime.files import regular
from wsss.runtime.plain_yaml import read_json
from wsss.runtime.records import in_file

LEVELS = (0, 1, 2)


def read_proposals(path: Path, size: tuple[int, int] | None = None) -> Masks | None:
    """Masks of an image from a JSON file or a folder of PNGs. size: (H, W) of the image; None: that of the first mask.

    A JSON file is a list of masks, or an object with the list under `annotations`. A mask is an object with
    `segmentation` {size, counts}, with compressed (text) or uncompressed (numbers) counts, and optionally `level_idx`,
    0 to 2. None for an empty list of an image of unknown size.

    Raises:
        ValueError: the path is neither, or has masks of another size or of several images.
    """
    if path.is_dir():
        return _from_pngs(path, size)
    with in_file(path, "a JSON file of masks"):
        content = read_json(read_text(path).text)
        items = content.get("annotations") if isinstance(content, Mapping) else content
        if not isinstance(items, list):
            raise ValueError(f"{path}: neither a list of masks nor an object with one under annotations")
        images = {item.get("image_id") for item in items if isinstance(item, Mapping)}
        if len(images) > 1:
            raise ValueError(f"{path}: holds masks of {len(images)} images; accepted is one file for each image")
        return _from_items(items, size, path)


def _from_items(items: list[Any], size: tuple[int, int] | None, path: Path) -> Masks | None:
    parts, levels = [], []
    for index, item in enumerate(items):
        where = f"{path}: mask {index}"
        try:
            own, lengths = run_lengths(item.get("segmentation") if isinstance(item, Mapping) else item)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        size = _same_size(own, size, where)
        parts.append(Masks.from_counts(size, [lengths]))
        levels.append(_level(item.get("level_idx", 0), where))
    return None if size is None else _joined(parts, size, levels)


def _level(given: Any, where: str) -> int:
    if isinstance(given, bool) or given not in LEVELS:
        raise ValueError(f"{where}: level_idx {shortened(given)}; accepted: 0 sub-part, 1 part, 2 whole")
    return int(given)


def _from_pngs(folder: Path, size: tuple[int, int] | None) -> Masks:
    parts = []
    for _, file in files_below(folder, suffixes=(".png",)):
        if file.parent != folder:
            continue
        with (
            readable(file, "mask in PNG"),
            opened(regular(file).read_bytes(), ("PNG",)) as image,
        ):
            clear = image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema()[0] < 255
            pixels = np.asarray(image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("RGB"))
        inside = pixels if pixels.ndim == 2 else pixels.max(-1)
        values = len(np.unique(inside[inside != 0]))
        if clear or values > 1:
            found = "has transparent pixels" if clear else f"holds {values} values beside 0, as of several masks"
            raise ValueError(f"{file}: {found}; accepted is a PNG for each mask, 0 outside and one value inside")
        size = _same_size(inside.shape, size, str(file))
        parts.append(Masks.from_dense(inside[None]))
    if not parts:
        raise ValueError(f"{folder}: no PNG files")
    return _joined(parts, size, [0] * len(parts))


def _same_size(found: tuple[int, ...], size: tuple[int, int] | None, what: str) -> tuple[int, int]:
    """The size of a mask; ValueError if it differs from the image's, or from that of the masks before."""
    if size is not None and tuple(found) != tuple(size):
        raise ValueError(f"{what} is {found[0]} × {found[1]}; its image is {size[0]} × {size[1]} (height × width)")
    return found


def _joined(parts: list[Masks], size: tuple[int, int], levels: list[int]) -> Masks:
    """Joins sets of one mask each."""
    empty = np.empty(0, np.int64)
    owner = np.concatenate([empty, *(np.full(len(p.starts), i) for i, p in enumerate(parts))]).astype(np.int64)
    starts, ends = (np.concatenate([empty, *(getattr(p, name) for p in parts)]) for name in ("starts", "ends"))
    return Masks(tuple(size), starts, ends, owner, len(parts), np.asarray(levels, np.int64))


def find_proposals(folder: Path) -> dict[str, Path]:
    """Image id → its JSON file or its folder of PNGs; ids are the paths below `folder`, without `.json`.

    Raises:
        ValueError: not a folder, or one without such files; PNGs of no image; two sources of one image.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; accepted is one with a JSON file or a folder of PNGs an image")
    found: dict[str, Path] = {}
    for image_id, path in _sources(folder):
        if found.setdefault(image_id, path) != path:
            raise ValueError(f"{path}: image '{image_id}' has masks in {found[image_id]} too; remove one of them")
    if not found:
        raise ValueError(f"{folder}: holds neither JSON files nor folders of PNGs, one an image")
    if problem := next((f"{folder}: '{i}' {why}" for i in found if (why := id_problem(i))), None):
        raise ValueError(f"{problem}; accepted are names of images")
    return dict(sorted(found.items()))


def _sources(folder: Path) -> Iterator[tuple[str, Path]]:
    stray = None
    for _, path in files_below(folder, suffixes=(".json", ".png")):
        below = path.relative_to(folder)
        if path.suffix.lower() == ".json":
            yield below.with_suffix("").as_posix(), path
        elif len(below.parts) > 1:
            yield below.parent.as_posix(), path.parent
        else:
            stray = stray or path
    if stray:
        raise ValueError(f"{stray}: a PNG of no image; accepted is a folder of PNGs for each image, named by its id")
