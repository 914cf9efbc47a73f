"""Which parts of an image SEAM holds to belong to one of its pixels: Figure 5 of the paper, for any pixel.

`snakemake results/{run}/affinity_map/{image}-{row}-{column}.png` draws it: the image with the pixel, and the affinity
of every position to it. The numbers lie beside the picture as .npy, (H, W) float32, 1 at the most similar position.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from wsss.data.augment import to_input
from wsss.data.dataset import Dataset, Record, read_image
from wsss.methods.load import load_classifier
from wsss.methods.seam.network import Seam
from wsss.plan.notes import note
from wsss.runtime.devices import claim_device
from wsss.runtime.files import write_atomically
from wsss.runtime.tensors import max_normalise, resize
from wsss.stages.common import plain_errors


@torch.inference_mode()
def affinity_map(model: Seam, image: np.ndarray, row: int, column: int, device: torch.device) -> np.ndarray:
    """(H, W) float32 in [0, 1]: the affinity of each position of `image` (H, W, 3) uint8 to the pixel's cell.

    Raises:
        ValueError: the pixel lies outside the image, or the model has no pixel correlation module.
    """
    height, width = image.shape[:2]
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"row {row}, column {column}: outside the image, which has {height} rows, {width} columns")
    model = model.to(device).eval()
    pixels = to_input(image, model.backbone.mean, model.backbone.std)[None].to(device)
    affinity = max_normalise(model.affinity_map(pixels, row, column))
    return resize(affinity[None], (height, width), align_corners=True)[0, 0].cpu().numpy()


def draw(image: np.ndarray, affinity: np.ndarray, row: int, column: int, path: Path) -> None:
    """Writes the picture: the image with its pixel marked, and the affinities over it."""
    height, width = image.shape[:2]
    figure, axes = plt.subplots(1, 2, figsize=(6, 3 * height / width), layout="constrained")
    for axis in axes:
        axis.imshow(image)
        axis.plot(column, row, marker="+", color="white", markersize=12, markeredgewidth=3)
        axis.plot(column, row, marker="+", color="black", markersize=10, markeredgewidth=1)
        axis.set_axis_off()
    axes[1].imshow(affinity, cmap="inferno", vmin=0, vmax=1, alpha=0.75)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)


def find(dataset: Dataset, image_id: str) -> Record:
    """The image's record.

    Raises:
        ValueError: the data set has no such image.
    """
    for record in dataset.records:
        if record.image_id == image_id:
            return record
    raise ValueError(f"no image '{image_id}' in {dataset.name}; ids stand in prepare_data/index.csv")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare_data")
    parser.add_argument("--classifier", type=Path, required=True, help="model.safetensors of a SEAM classifier")
    parser.add_argument("--image", required=True, help="the image's id")
    parser.add_argument("--row", type=int, required=True, help="of the pixel, 0-based")
    parser.add_argument("--column", type=int, required=True, help="of the pixel, 0-based")
    parser.add_argument("--picture", type=Path, required=True, help="PNG to write; the .npy lies beside it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--made-of", default="", help="digest of what it is made of, noted beside it")
    args = parser.parse_args()
    logging.basicConfig(format="[affinity_map] %(message)s")
    with plain_errors():
        model = load_classifier(args.classifier)
        if not isinstance(model, Seam):
            raise ValueError(f"{args.classifier}: not a SEAM classifier; affinity maps need its correlation module")
        image = read_image(find(Dataset(args.data), args.image).image)
        affinity = affinity_map(model, image, args.row, args.column, claim_device(args.device))
        write_atomically(args.picture.with_suffix(".npy"), lambda file: _save(file, affinity))
        draw(image, affinity, args.row, args.column, args.picture)
        note(args.picture, args.made_of)


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:  # np.save adds a suffix to a path, not to a file
        np.save(file, values)


if __name__ == "__main__":
    main()
