"""Mask proposals of many images as one file: `wsss masks DIR --out masks.h5`.

DIR holds a JSON file an image (SAM's `amg.py --convert-to-rle`, or COCO run lengths) or a folder of PNGs an image,
named as the image id: image `a/b.jpg` has `a/b.json` or the folder `a/b`. A run takes the file by
`make_pseudo_labels.masks.file`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.readers import find_proposals, read_proposals
from wsss.refine.proposals.store import write_masks
from wsss.runtime.ending import plain_ending
from wsss.runtime.targets import refuse_inside, refuse_sources


def collect(folder: Path, out: Path) -> tuple[int, int]:
    """Writes the proposals of a folder; how many images and masks."""
    found = find_proposals(folder)
    refuse_sources([out], found.values())
    refuse_inside(out, folder)
    count = 0

    def masks() -> Iterator[tuple[str, Masks]]:
        nonlocal count
        for image_id, path in found.items():
            own = read_proposals(path)
            count += own.count
            yield image_id, own

    return write_masks(out, masks()), count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="wsss masks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="JSON files or folders of PNGs, one an image")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    args = parser.parse_args()
    with plain_ending("masks"):
        images, count = collect(args.folder, args.out)
        print(f"{args.out}: {count} masks of {images} images")


if __name__ == "__main__":
    main()
