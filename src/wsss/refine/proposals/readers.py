"""Proposals of one image from files: SAM's `amg.py --convert-to-rle`, COCO run lengths, folders of PNGs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from wsss.refine.proposals.masks import Masks


def read_proposals(path: Path, size: tuple[int, int]) -> Masks:
    """Masks of an image of `size` (H, W), from a JSON file of run lengths or from a folder of PNGs.

    A JSON file is a list of masks, or an object with the list under `annotations`. A mask is an object with
    `segmentation` {size, counts}, counts compressed (text) or not (numbers), and perhaps `level_idx`, 0 to 2.

    Raises:
        ValueError: neither of them, nothing in it, or masks of another size.
    """
    if path.is_dir():
        return _from_pngs(path, size)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no readable JSON file of masks ({error})") from None
    items = content.get("annotations") if isinstance(content, Mapping) else content
    if not isinstance(items, list):
        raise ValueError(f"{path}: neither a list of masks nor an object with one under annotations")
    return _from_items(items, size, path)


def _from_items(items: list[Any], size: tuple[int, int], path: Path) -> Masks:
    parts, levels = [], []
    for index, item in enumerate(items):
        runs = item.get("segmentation") if isinstance(item, Mapping) else None
        if not (isinstance(runs, Mapping) and {"size", "counts"} <= runs.keys()):
            raise ValueError(f"{path}: mask {index} has no segmentation with size and counts")
        _require_size(tuple(runs["size"]), size, f"{path}: mask {index}")
        counts = runs["counts"]
        if isinstance(counts, str):
            dense = coco.decode({"size": list(size), "counts": counts.encode()})
            parts.append(Masks.from_dense(dense[None]))
        else:
            parts.append(Masks.from_counts(size, [counts]))
        levels.append(int(item.get("level_idx", 0)))
    return _joined(parts, size, levels)


def _from_pngs(folder: Path, size: tuple[int, int]) -> Masks:
    parts = []
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L"))
        _require_size(pixels.shape, size, str(file))
        parts.append(Masks.from_dense(pixels[None]))
    if not parts:
        raise ValueError(f"{folder}: no PNG files")
    return _joined(parts, size, [0] * len(parts))


def _require_size(found: tuple[int, ...], size: tuple[int, int], what: str) -> None:
    if tuple(found) != tuple(size):
        raise ValueError(f"{what} is {found[0]} × {found[1]}; its image is {size[0]} × {size[1]} (height × width)")


def _joined(parts: list[Masks], size: tuple[int, int], levels: list[int]) -> Masks:
    """Masks of one each as one set."""
    empty = np.empty(0, np.int64)
    owner = np.concatenate([empty, *(np.full(len(p.starts), i) for i, p in enumerate(parts))]).astype(np.int64)
    starts, ends = (np.concatenate([empty, *(getattr(p, name) for p in parts)]) for name in ("starts", "ends"))
    return Masks(tuple(size), starts, ends, owner, len(parts), np.asarray(levels, np.int64))
