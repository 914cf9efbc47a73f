"""Writes label maps as palette PNGs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from wsss.data.formats.png.settings import Settings
from wsss.runtime.files import write_atomically
from wsss.runtime.targets import refuse_sources, unique_places
from wsss.store.maps import LabelStore

VOID = (224, 224, 192)
"""VOC's colour of pixels that count as nothing."""


def write(_settings: Settings, store: LabelStore, out: Path) -> int:
    """Writes `out/{image_id}.png` for every image, folders in ids included; returns how many.

    Raises:
        ValueError: an id would leave the folder, or two ids one file, or a name is too long.
    """
    palette = np.full((256, 3), 0, np.uint8)
    palette[: len(store.palette)] = store.palette
    palette[255] = VOID
    unique_places({image_id: [PurePosixPath(f"{image_id}.png")] for image_id in store})
    refuse_sources((out / f"{image_id}.png" for image_id in store), ())
    for image_id in store:
        path = out / f"{image_id}.png"
        if not path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"image id '{image_id}' would be written outside {out}")
        mask = Image.fromarray(store[image_id])
        mask.putpalette(palette.tobytes())
        write_atomically(path, lambda temporary, mask=mask: mask.save(temporary, "PNG", optimize=True))
    return len(store)
