"""What is measured on: the photographs of a VOC kit (environment variable WSSS_KIT), or generated ones."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from wsss.data.dataset import Record

CLASSES = 20
GENERATED_SIZES = ((240, 320), (240, 320), (213, 320), (320, 240))


def kit() -> Path | None:
    """The folder that WSSS_KIT names: VOC2012/, labels.csv, mobilenetv2_100.imagenet.safetensors."""
    return Path(os.environ["WSSS_KIT"]) if os.environ.get("WSSS_KIT") else None


def smooth(rng: np.random.Generator, count: int, height: int, width: int, cell: int = 16) -> torch.Tensor:
    """Maps (count, height, width) in [0, 1] as networks give them: coarse cells, upsampled bilinearly."""
    coarse = torch.from_numpy(rng.random((1, count, -(-height // cell) + 1, -(-width // cell) + 1), dtype=np.float32))
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]


def image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A generated photograph (H, W, 3) uint8: coarse colours, edges and a little noise."""
    colours = smooth(rng, 3, height, width, 24).numpy().transpose(1, 2, 0)
    steps = np.floor(colours * 5) / 5
    return ((0.3 * colours + 0.7 * steps) * 255 + rng.normal(0, 6, (height, width, 3))).clip(0, 255).astype(np.uint8)


def blobs(rng: np.random.Generator, height: int, width: int, classes: int) -> np.ndarray:
    """A label map (H, W) uint8 of `classes` kinds of regions, with some void (255)."""
    label = smooth(rng, classes, height, width, 48).argmax(0).numpy().astype(np.uint8)
    label[smooth(rng, 1, height, width, 24)[0].numpy() > 0.9] = 255
    return label


def cams_and_truth(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class ids (2,), CAMs (2, H, W) in [0, 1] and the mask (H, W) that they show, more or less."""
    classes = np.sort(rng.choice(np.arange(1, CLASSES + 1), 2, replace=False))
    index = blobs(rng, height, width, 3)
    truth = np.r_[0, classes, np.zeros(252), 255].astype(np.uint8)[np.where(index == 255, 255, index)]
    shown = torch.from_numpy(np.stack([truth == c for c in classes]).astype(np.float32))
    cams = sum(_one_scale(rng, shown, cell) for cell in (8, 11, 16, 32))
    return classes, (cams / (cams.amax((1, 2), keepdim=True) + 1e-5)).numpy(), truth


def _one_scale(rng: np.random.Generator, shown: torch.Tensor, cell: int) -> torch.Tensor:
    """What a network of stride 16 makes of regions (2, H, W), 16 / cell times as large: coarse, and not quite right."""
    height, width = shown.shape[1:]
    coarse = F.adaptive_avg_pool2d(shown, (-(-height // cell), -(-width // cell)))
    coarse = coarse + 0.5 * smooth(rng, 2, *coarse.shape[1:], cell=3) - 0.25
    return F.interpolate(coarse.relu()[None], (height, width), mode="bilinear", align_corners=False)[0]


def photographs(count: int, folder: Path) -> list[Record]:
    """`count` photographs with their labels: the kit's first, or generated ones, written to `folder`."""
    if kit() is None:
        return [_generated(folder, number) for number in range(count)]
    with (kit() / "labels.csv").open(newline="") as file:
        named = {row["image"]: row["labels"].split() for row in csv.DictReader(file)}
    names = sorted({name for labels in named.values() for name in labels})
    files = sorted((kit() / "VOC2012" / "JPEGImages").glob("*.jpg"))[:count]
    return [_record(file, [names.index(name) for name in named[file.stem]]) for file in files]


def _generated(folder: Path, number: int) -> Record:
    rng = np.random.default_rng(number)
    file = folder / f"{number:04}.jpg"
    Image.fromarray(image(rng, *GENERATED_SIZES[number % len(GENERATED_SIZES)])).save(file, quality=90)
    return _record(file, rng.choice(CLASSES, 1 + number % 2, replace=False).tolist())


def _record(file: Path, classes: list[int]) -> Record:
    labels = np.zeros(CLASSES, np.float32)
    labels[classes] = 1
    with Image.open(file) as opened:
        size = opened.size[::-1]
    return Record(file.stem, file, None, labels, "train", False, size)
