"""Writes the label maps of an HDF5 file as palette PNGs, one an image, as VOC's masks are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from wsss.runtime.files import write_atomically
from wsss.store.maps import LabelStore, open_labels


def export_labels(store: LabelStore, out: Path) -> int:
    """Writes `out/{image_id}.png` for every image, folders in ids included; returns how many.

    Raises:
        ValueError: an id would leave the folder.
    """
    palette = np.full((256, 3), 0, np.uint8)
    palette[: len(store.palette)] = store.palette
    palette[255] = (224, 224, 192)  # VOC's colour of void
    for image_id in store:
        path = out / f"{image_id}.png"
        if not path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"image id '{image_id}' would be written outside {out}")
        mask = Image.fromarray(store[image_id])
        mask.putpalette(palette.tobytes())
        write_atomically(path, lambda temporary, mask=mask: mask.save(temporary, "PNG", optimize=True))
    return len(store)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="HDF5 file of labels, e.g. results/voc/make_pseudo_labels/train.h5")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNGs")
    args = parser.parse_args()
    try:
        with open_labels(args.file) as store:
            count = export_labels(store, args.out)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"{count} masks in {args.out}")


if __name__ == "__main__":
    main()
