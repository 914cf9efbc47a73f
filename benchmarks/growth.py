"""What an image costs each stage, for few images and for many: the cost must not grow with their number.

    python -m benchmarks.growth --out /tmp/growth --images 100 1000 10000

Generated images of 48 × 64 px, the preset `frozen` on a tiny network with random weights, and a file of mask proposals.
Milliseconds an image are CPU time by which a stage takes longer with more images, so that a program's start is left
out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.store import write_masks

SIZE = (48, 64)
NAMES = ("red", "green", "blue")
BACKBONE = {"name": "test_resnet", "output_stride": 8, "pretrained": False, "weights": None}
TINY = {
    "preset": "frozen",
    "prepare_data": {"dataset": "folder", "images": "photos", "labels": "labels.csv", "classes": list(NAMES)},
    "compute_features": {"backbone": BACKBONE},
    "train_classifier": {"backbone": BACKBONE, "method": {"steps": 200}},
    "choose_threshold": "auto",
    "make_pseudo_labels": {"masks": {"file": "masks.h5", "merge": "sepl"}},
    "train_segmentation": {"backbone": BACKBONE, "training": {"epochs": 1}},
}


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) uint8 with a rectangle of the colour `number % 3`, and the rectangle (H, W) bool."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(60, 120, (*SIZE, 3)).astype(np.uint8), np.zeros(SIZE, bool)
    top, left = rng.integers(2, 20, 2)
    mask[top : top + 24, left : left + 30] = True
    image[mask, number % 3] += 110
    return image, mask


def proposals(count: int) -> Iterator[tuple[str, Masks]]:
    """Four masks an image: the object's halves and those of what is around it."""
    upper = np.arange(SIZE[0])[:, None] < SIZE[0] // 2
    for number in range(count):
        mask = scene(number)[1]
        yield str(number), Masks.from_dense(np.stack([p & half for p in (mask, ~mask) for half in (upper, ~upper)]))


def seconds_of(folder: Path, count: int) -> dict[str, float]:
    """Stage → seconds of CPU time of its programs, in a run of `count` images in a new folder."""
    (folder / "photos").mkdir(parents=True)
    for number in range(count):
        Image.fromarray(scene(number)[0]).save(folder / "photos" / f"{number}.png")
    rows = "".join(f"{number}.png,{NAMES[number % 3]}\n" for number in range(count))
    (folder / "labels.csv").write_text(f"image,labels\n{rows}")
    write_masks(folder / "masks.h5", proposals(count))
    execution = {"shards": 1, "device": "cpu", "workers": 0}
    (folder / "growth.yaml").write_text(yaml.safe_dump({"runs": {"growth": TINY}, "execution": execution}))
    snakefile = Path(__file__).parents[1] / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile", "growth.yaml"]
    command += ["--cores", "1", "--quiet", "all", "--", "results/growth/miou.csv"]
    subprocess.run(command, cwd=folder, check=True)
    found: dict[str, float] = {}
    for file in folder.glob("results/stages/*/*/timing/*"):
        record = json.loads(file.read_text())
        found[record["stage"]] = found.get(record["stage"], 0) + record["cpu_seconds"]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 10_000], help="numbers of images, rising")
    args = parser.parse_args()
    found = [seconds_of(args.out.resolve() / str(count), count) for count in args.images]
    pairs = list(itertools.pairwise(zip(args.images, found, strict=True)))
    columns = [f"{few} to {many} images" for (few, _), (many, _) in pairs]
    print(f"| stage, CPU ms an image | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for stage in found[-1]:
        costs = [1000 * (more[stage] - less[stage]) / (many - few) for (few, less), (many, more) in pairs]
        print(f"| {stage} | {' | '.join(f'{cost:.1f}' for cost in costs)} |")


if __name__ == "__main__":
    main()
