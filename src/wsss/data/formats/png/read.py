"""Reads palette or grey PNGs of class ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsss.data.files import MASK_SUFFIXES, files_below, unread_masks
from wsss.data.formats.png.settings import Settings
from wsss.data.formats.regions import SizeOf
from wsss.data.images import read_mask
from wsss.runtime.labels import IGNORE
from wsss.runtime.progress import log


def read(
    _settings: Settings, source: Path, class_names: Sequence[str], _size_of: SizeOf
) -> Iterator[tuple[str, np.ndarray]]:
    """(image id, label (H, W) uint8) of every mask below a folder; 255 is void.

    Raises:
        ValueError: a file without class ids, or with unknown ones.
    """
    if left := unread_masks(source):
        log.warning("%s", left)
    for name, path in files_below(source, suffixes=MASK_SUFFIXES):
        label = read_mask(path)
        odd = [c for c in np.unique(label).tolist() if c >= len(class_names) and c != IGNORE]
        if odd:
            raise ValueError(f"{path}: class id {odd[0]}; there are {len(class_names)} classes with background")
        yield str(Path(name).with_suffix("")), label
