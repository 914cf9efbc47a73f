"""`wsss run` as a practitioner uses it: a few hundred photographs, their labels, no masks.

    python -m benchmarks.photographs /path/to/voc-kit --out /tmp/photographs --seeds 5

For each seed, 3 to 6 classes and 200 photographs of them are drawn from the kit's training list; the rest of its
classes count as background. The masks are looked at afterwards: those of the photographs against the pseudo-labels,
those of up to 100 unseen photographs of the validation list against `wsss predict`'s. Prints a row a seed, and mean ±
standard deviation.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.seeds import mean_and_deviation
from wsss.data.sources.voc.index import VOC_CLASSES
from wsss.measure.iou import confusion, score
from wsss.store.maps import open_labels

PHOTOGRAPHS, UNSEEN, FEWEST = 200, 100, 12
"""Photographs of a run, the most unseen ones, and the fewest photographs of a class."""


def draw(labels: dict[str, set[str]], train: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Classes and photographs of a seed."""
    rng = np.random.default_rng(seed)
    names = sorted({name for image in train for name in labels[image]})
    often = [name for name in names if sum(name in labels[image] for image in train) >= FEWEST]
    while True:
        classes = sorted(rng.choice(often, rng.integers(3, 7), replace=False).tolist())
        images = [image for image in train if labels[image] & set(classes)]
        if len(images) >= PHOTOGRAPHS:
            return classes, sorted(rng.choice(images, PHOTOGRAPHS, replace=False).tolist())


def measured(kit: Path, images: list[str], classes: list[str], mask_of: Callable[[str], np.ndarray]) -> float:
    """mIoU in percent against the kit's masks, classes that were not asked for counted as background."""
    table = np.zeros(256, np.uint8)
    table[255] = 255
    for number, name in enumerate(classes, 1):
        table[["background", *VOC_CLASSES].index(name)] = number
    count = len(classes) + 1
    total = np.zeros((count, count + 1), np.int64)
    for image in images:
        truth = table[np.array(Image.open(kit / "VOC2012" / "SegmentationClass" / f"{image}.png"))]
        total += confusion(truth, mask_of(image), count)
    return 100 * score(total, absent="skip").miou


def one(kit: Path, folder: Path, seed: int, arguments: list[str]) -> dict[str, float | str]:
    """A row of the table."""
    table = pd.read_csv(kit / "labels.csv").fillna("")
    labels = {image: set(text.split()) for image, text in zip(table["image"], table["labels"], strict=True)}
    lists = kit / "VOC2012" / "ImageSets" / "Segmentation"
    train, val = ((lists / f"{split}.txt").read_text().split() for split in ("train", "val"))
    classes, images = draw(labels, train, seed)
    unseen = [image for image in val if labels[image] & set(classes)][:UNSEEN]
    for name, chosen in (("photos", images), ("unseen", unseen)):
        (folder / name).mkdir(parents=True)
        for image in chosen:
            (folder / name / f"{image}.jpg").symlink_to((kit / "VOC2012" / "JPEGImages" / f"{image}.jpg").resolve())
    rows = [{"image": image, "labels": " ".join(sorted(labels[image] & set(classes)))} for image in images]
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    begun = time.monotonic()
    wsss(folder, "run", "photos", "--labels", "labels.csv", *arguments)
    seconds = time.monotonic() - begun
    wsss(folder, "predict", "--run", "results/photos", "unseen", "--out", "masks")
    with open_labels(folder / "results" / "photos" / "make_pseudo_labels" / "train.h5") as store:
        made = measured(kit, [image for image in images if image in store], classes, lambda image: store[image])
    found = measured(kit, unseen, classes, lambda image: np.array(Image.open(folder / "masks" / f"{image}.png")))
    return {
        "seed": str(seed),
        "classes": " ".join(classes),
        "pseudo-labels": made,
        "unseen": found,
        "seconds": seconds,
    }


def wsss(folder: Path, *arguments: str) -> None:
    """A command in a folder; raises CalledProcessError."""
    subprocess.run([sys.executable, "-m", "wsss.cli.main", *arguments], cwd=folder, check=True)


def main() -> None:
    """Command line; what follows `--` goes to `wsss run`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kit", type=Path, help="folder with VOC2012/ and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder to make, with one of each seed")
    parser.add_argument("--seeds", type=int, default=5, help="number of draws (default: 5)")
    parser.add_argument("arguments", nargs="*", help="of wsss run, after --, e.g. -- --preset photos --weights FILE")
    args = parser.parse_args()
    out = args.out.resolve()
    rows = [one(args.kit.resolve(), out / str(seed), seed, args.arguments) for seed in range(args.seeds)]
    print("| seed | classes | pseudo-labels | unseen | seconds |\n|---|---|---|---|---|")
    for row in rows:
        print("| {seed} | {classes} | {pseudo-labels:.1f} | {unseen:.1f} | {seconds:.0f} |".format(**row))
    numbers = pd.DataFrame(rows)[["pseudo-labels", "unseen", "seconds"]]
    print("| mean ± std | | " + " | ".join(mean_and_deviation(numbers[c]) for c in numbers) + " |")


if __name__ == "__main__":
    main()
