"""Mask proposals of many images in one file: `wsss masks DIR --out masks.h5`.

DIR contains a JSON file (SAM's `amg.py --convert-to-rle`, or COCO run lengths) or a folder of PNGs per image, named by
its id: image `a/b.jpg` has `a/b.json` or the folder `a/b`. With `--sam MODEL`, DIR is a folder of photographs or a
run's `results/RUN/prepare_data`, and a SAM generates the masks. The setting `make_pseudo_labels.masks.file` names the
file in a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from wsss.cli.helping import Paragraphs
from wsss.cli.inputs import require_device
from wsss.data.dataset import Dataset
from wsss.data.sources.folder.index import image_ids, list_images
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.readers import find_proposals, read_proposals
from wsss.refine.proposals.store import is_masks, write_masks
from wsss.runtime.ending import plain_ending
from wsss.runtime.progress import Progress
from wsss.runtime.targets import a_path, refuse_foreign, refuse_inside, refuse_sources

SHOWN = 5
"""Number of images that a message names."""


def collect(folder: Path, out: Path) -> tuple[int, int]:
    """Writes the proposals of a folder; returns the numbers of images and masks.

    Images whose list is empty are left out, with a line on stderr.
    """
    found = find_proposals(folder)
    _check_target(out, found.values())
    refuse_inside(out, folder)
    count, empty = 0, []

    def masks() -> Iterator[tuple[str, Masks]]:
        nonlocal count
        for image_id, path in found.items():
            own = read_proposals(path)
            if own is None:
                empty.append(image_id)
                continue
            count += own.count
            yield image_id, own
        if len(empty) == len(found):
            raise ValueError(f"{folder}: no masks in its {len(found)} file(s)")

    images = write_masks(out, masks())
    if empty:
        names = ", ".join(empty[:SHOWN]) + (" …" if len(empty) > SHOWN else "")
        print(f"[masks] {len(empty)} image(s) without masks keep their labels: {names}", file=sys.stderr)
    return images, count


def _check_target(out: Path, sources: Iterable[Path]) -> None:
    refuse_sources([out], sources)
    refuse_foreign(out, is_masks, "a file of wsss masks")


def propose(folder: Path, out: Path, sam: str, points: int, device: str) -> tuple[int, int]:
    """Writes a SAM's proposals for the images of a folder; returns the numbers of images and masks."""
    if not 1 <= points <= 256:
        raise ValueError(f"--points {points}; accepted are 1 to 256")
    require_device(device)
    images = photographs(folder)
    _check_target(out, images.values())
    from wsss.refine.proposals.generate import generate  # imports torch, which takes seconds
    from wsss.runtime.devices import resolve_device

    progress, count = Progress(len(images), "images"), 0

    def masks() -> Iterator[tuple[str, Masks]]:
        nonlocal count
        for image_id, own in generate(images, sam, resolve_device(device), points):
            count += own.count
            yield image_id, own
            progress.update()
        if not count:
            raise ValueError(f"{folder}: {sam} finds no mask in its {len(images)} images")

    return write_masks(out, masks()), count


def photographs(folder: Path) -> dict[str, Path]:
    """Image id → file, of a folder of prepare_data, or of a folder of photographs with the ids of `folder` sources."""
    if (folder / "index.csv").is_file():
        return {record.image_id: record.image for record in Dataset(folder).records}
    return {image_id: path for path, image_id in image_ids(folder, list_images(folder)).items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="wsss masks", description=__doc__, formatter_class=Paragraphs)
    parser.add_argument(
        "folder", type=a_path, help="JSON files or folders of PNGs, one per image; with --sam: photographs"
    )
    parser.add_argument("--out", type=a_path, required=True, help="HDF5 file to write")
    parser.add_argument("--sam", metavar="MODEL", help="folder of a SAM for transformers, or its name on the hub")
    parser.add_argument("--points", type=int, default=32, help="along each side of SAM's grid (default: 32)")
    parser.add_argument("--device", default="auto", help="for SAM: auto, cpu, cuda or cuda:N (default: auto)")
    args = parser.parse_args()
    with plain_ending("masks"):
        if args.sam is None:
            images, count = collect(args.folder, args.out)
        else:
            images, count = propose(args.folder, args.out, args.sam, args.points, args.device)
        print(f"{args.out}: {count} masks of {images} images")


if __name__ == "__main__":
    main()
