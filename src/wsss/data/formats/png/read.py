"""Reads palette or grey PNGs of class ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsss.data.files import MASK_SUFFIXES, files_below, unread_masks
from wsss.data.formats.png.settings import Settings
from wsss.data.formats.regions import SizeOf
from wsss.data.images import read_mask, readable, values_of
from wsss.data.intact import opened
from wsss.data.palette import voc_palette
from wsss.data.reasons import EXACT
from wsss.runtime.files import regular
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
        ids = sorted(values_of(label))
        odd = [c for c in ids if c >= len(class_names) and c != IGNORE]
        if odd:
            raise ValueError(f"{path}: class id {odd[0]}; there are {len(class_names)} classes with background")
        if moved := _moved(_palette(path), ids, len(class_names)):
            raise ValueError(
                f"{path}: id {moved[0]} has the colour of class id {moved[1]}, as paint programs sort a palette by "
                "use; save it with the palette that it had, or as grey class ids"
            )
        yield str(Path(name).with_suffix("")), label


def _palette(path: Path) -> list[tuple[int, ...]]:
    """The colours of a palette PNG by id; none of a grey one."""
    with readable(path, "mask"), opened(regular(path).read_bytes(), EXACT) as image:
        values = image.getpalette("RGB") if image.mode == "P" else []
    return [tuple(values[i : i + 3]) for i in range(0, len(values), 3)]


def _moved(colours: Sequence[tuple[int, ...]], ids: Sequence[int], classes: int) -> tuple[int, int] | None:
    """An id of a mask whose colour is that of another class id, and the latter, if all its colours are those of ids.

    ids: those in the mask. Palettes of other colours, or of one for several ids, mean nothing.
    """
    known = {tuple(colour): c for c, colour in enumerate(voc_palette().tolist()) if c < classes or c == IGNORE}
    meant = [known.get(colours[c]) if c < len(colours) else None for c in ids]
    if None in meant or len(set(meant)) < len(meant):
        return None
    return next(((c, other) for c, other in zip(ids, meant, strict=True) if c != other), None)
