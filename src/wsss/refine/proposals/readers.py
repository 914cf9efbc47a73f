"""Reading of one image's proposals: SAM's `amg.py --convert-to-rle`, COCO run lengths, folders of PNGs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from wsss.refine.proposals.masks import Masks
from wsss.runtime.records import in_file


def read_proposals(path: Path, size: tuple[int, int] | None = None) -> Masks:
    """Masks of an image from a JSON file or a folder of PNGs. size: (H, W) of the image; None: that of the first mask.

    A JSON file is a list of masks, or an object with the list under `annotations`. A mask is an object with
    `segmentation` {size, counts}, with compressed (text) or uncompressed (numbers) counts, and optionally `level_idx`,
    0 to 2.

    Raises:
        ValueError: the path is neither, has no masks, or has masks of another size.
    """
    if path.is_dir():
        return _from_pngs(path, size)
    with in_file(path, "a JSON file of masks"):
        content = json.loads(path.read_text(encoding="utf-8"))
        items = content.get("annotations") if isinstance(content, Mapping) else content
        if not isinstance(items, list):
            raise ValueError(f"{path}: neither a list of masks nor an object with one under annotations")
        return _from_items(items, size, path)


def _from_items(items: list[Any], size: tuple[int, int] | None, path: Path) -> Masks:
    parts, levels = [], []
    for index, item in enumerate(items):
        runs = item.get("segmentation") if isinstance(item, Mapping) else None
        if not (isinstance(runs, Mapping) and {"size", "counts"} <= runs.keys()):
            raise ValueError(f"{path}: mask {index} has no segmentation with size and counts")
        size = _same_size(tuple(runs["size"]), size, f"{path}: mask {index}")
        counts = runs["counts"]
        if isinstance(counts, str):
            dense = coco.decode({"size": list(size), "counts": counts.encode()})
            parts.append(Masks.from_dense(dense[None]))
        else:
            parts.append(Masks.from_counts(size, [counts]))
        levels.append(int(item.get("level_idx", 0)))
    if size is None:
        raise ValueError(f"{path}: no masks, so no size of its image")
    return _joined(parts, size, levels)


def _from_pngs(folder: Path, size: tuple[int, int] | None) -> Masks:
    parts = []
    for file in sorted(folder.glob("*.png")):
        with Image.open(io.BytesIO(file.read_bytes()), formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("L"))
        size = _same_size(pixels.shape, size, str(file))
        parts.append(Masks.from_dense(pixels[None]))
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
        ValueError: not a folder, or one without such files.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; accepted is one with a JSON file or a folder of PNGs an image")
    found = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.json"))}
    found |= {p.relative_to(folder).as_posix(): p for p in sorted({png.parent for png in folder.rglob("*.png")})}
    found.pop(".", None)
    if not found:
        raise ValueError(f"{folder}: holds neither JSON files nor folders of PNGs, one an image")
    return dict(sorted(found.items()))
