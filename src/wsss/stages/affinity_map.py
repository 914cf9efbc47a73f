"""Affinity map of SEAM for one pixel of an image (Figure 5 of the paper).

`snakemake results/{run}/affinity_map/{image}-{row}-{column}.png` draws the image with the pixel, and the affinity of
every position to it. The values are beside the picture as .npy, (H, W) float32, 1 at the most similar position.
"""

from __future__ import annotations

import argparse
import io
import logging
from pathlib import Path

import numpy as np

from wsss.data.dataset import Dataset, read_image
from wsss.methods.load import load_classifier
from wsss.methods.seam.network import Seam
from wsss.methods.seam.picture import affinity_to_pixel
from wsss.plan.notes import note, note_argument
from wsss.report.figures import draw_affinity
from wsss.runtime.devices import claim_device
from wsss.runtime.files import write_atomically
from wsss.stages.log import plain_errors


def affinity_map(args: argparse.Namespace) -> None:
    """Writes the picture and its values; ValueError for another method's classifier, an unknown image or pixel."""
    model = load_classifier(args.classifier)
    if not isinstance(model, Seam):
        raise ValueError(f"{args.classifier}: not a SEAM classifier; affinity maps need its correlation module")
    image = read_image(Dataset(args.data).record(args.image).image)
    affinity = affinity_to_pixel(model, image, args.row, args.column, claim_device(args.device))
    numbers = io.BytesIO()
    np.save(numbers, affinity)
    write_atomically(args.picture.with_suffix(".npy"), numbers.getvalue())
    draw_affinity(image, affinity, args.row, args.column, args.picture)
    note(args.picture, args.made_of)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of a SEAM classifier")
    parser.add_argument("--image", required=True, help="the image's id")
    parser.add_argument("--row", type=int, required=True, help="of the pixel, 0-based")
    parser.add_argument("--column", type=int, required=True, help="of the pixel, 0-based")
    parser.add_argument("--picture", type=Path, required=True, help="PNG to write; the .npy lies beside it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    note_argument(parser)
    logging.basicConfig(format="[affinity_map] %(message)s")
    with plain_errors():
        affinity_map(parser.parse_args())


if __name__ == "__main__":
    main()
