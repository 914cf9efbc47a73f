"""DenseCRF: one process against two, and the authors' C++ against torch."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.inputs import image, photographs, smooth
from benchmarks.measure import Case, Thunk, largest_difference
from benchmarks.shards import Part, in_shards
from wsss.config.sections import CRF
from wsss.data.dataset import read_image
from wsss.refine.crf.dense import crf_marginal_group
from wsss.refine.crf.mean_field import mean_field

PARAMETERS = CRF()
LABELS = 4


def items(height: int, width: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and probabilities (4, H, W) that lean towards one label in each region."""
    rng = np.random.default_rng(6)
    return [(image(rng, height, width), scores(rng, height, width)) for _ in range(count)]


def scores(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return (6 * smooth(rng, LABELS, height, width, 32)).softmax(0).numpy()


def marginals(pixels: np.ndarray, shares: np.ndarray, backend: str = "pydensecrf") -> np.ndarray:
    return crf_marginal_group([pixels], [shares], CRF(backend=backend))[0]


def part_of_items(height: int, width: int, count: int, number: int, shards: int) -> Part:
    """What one shard does with its share of the images."""
    mine = list(enumerate(items(height, width, count)))[number::shards]
    return lambda: {f"{i:04}": marginals(*pair) for i, pair in mine}


def cpp(height: int, width: int, _device: str) -> Thunk:
    ((pixels, shares),) = items(height, width, 1)
    return lambda: marginals(pixels, shares)


def in_torch(height: int, width: int, count: int, device: str) -> Thunk:
    given = items(height, width, count)
    pixels = torch.from_numpy(np.stack([i for i, _ in given])).permute(0, 3, 1, 2).to(device).float()
    unary = -torch.from_numpy(np.stack([s for _, s in given])).clamp(min=1e-5).log().to(device)
    if count == 1 and device == "cpu":
        return lambda: mean_field(pixels, unary, PARAMETERS)[0]
    return lambda: mean_field(pixels, unary, PARAMETERS)


def on_photographs(count: int, backend: str, _device: str) -> Thunk:
    """Labels of `count` photographs."""
    with tempfile.TemporaryDirectory() as folder:
        images = [read_image(record.image) for record in photographs(count, Path(folder))]
    rng = np.random.default_rng(7)
    given = [(pixels, scores(rng, *pixels.shape[:2])) for pixels in images]
    return lambda: [marginals(*pair, backend).argmax(0).astype(np.uint8) for pair in given]


def agreement(plain: list[np.ndarray], ours: list[np.ndarray]) -> tuple[str, bool]:
    """Share of pixels with the same label, over all and in the worst image."""
    shares = [float((a == b).mean()) for a, b in zip(plain, ours, strict=True)]
    pooled = sum((a == b).sum() for a, b in zip(plain, ours, strict=True)) / sum(a.size for a in plain)
    return f"{100 * pooled:.2f} % of labels equal, {100 * min(shares):.2f} % in the worst image", pooled >= 0.99


def cases() -> list[Case]:
    found = [
        Case(
            "DenseCRF, 4 labels, 2 processes; 1 process",
            f"{count}×{height}×{width}",
            count * height * width,
            partial(in_shards, partial(part_of_items, height, width, count), 1),
            partial(in_shards, partial(part_of_items, height, width, count), 2),
            faster=1.8 if height == 375 else None,
            difference=0,
            compare=largest_difference,
        )
        for height, width, count in ((188, 250, 24), (375, 500, 12))
    ]
    found += [
        Case(
            "DenseCRF, 4 labels, torch; the authors' C++",
            f"{height}×{width}",
            height * width,
            partial(cpp, height, width),
            partial(in_torch, height, width, 1),
            compare=largest_difference,
        )
        for height, width in ((188, 250), (375, 500))
    ]
    photos = Case(
        "DenseCRF, labels of photographs, torch; the authors' C++",
        "50×320 px",
        50 * 320 * 230,
        partial(on_photographs, 50, "pydensecrf"),
        partial(on_photographs, 50, "torch"),
        note=agreement,
    )
    return [*found, photos]


def gpu_cases() -> list[Case]:
    return [
        Case(
            "DenseCRF, 4 labels",
            f"{count}×375×500",
            count * 375 * 500,
            partial(in_torch, 375, 500, count),
            partial(in_torch, 375, 500, count),
            faster=20,
            compare=largest_difference,
        )
        for count in (1, 4)
    ]
