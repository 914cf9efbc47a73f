"""CAM files: one HDF5 store of 8-bit maps against a float32 `.npy` dictionary an image."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.inputs import CLASSES, cams_and_truth
from benchmarks.measure import Case, Thunk
from wsss.measure.iou import ThresholdCurve, score
from wsss.store.maps import open_scores
from wsss.store.writers import ScoreWriter

NAMES = ["background", *(f"class {i}" for i in range(1, CLASSES + 1))]


def items(height: int, width: int, images: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(4)
    return [cams_and_truth(rng, height, width) for _ in range(images)]


def plain(height: int, width: int, images: int, _device: str) -> Thunk:
    given = items(height, width, images)

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            for i, (classes, cams, _) in enumerate(given):
                np.save(f"{folder}/{i}.npy", dict(zip(classes.tolist(), cams, strict=True)))
            read = [np.load(f"{folder}/{i}.npy", allow_pickle=True).item() for i in range(images)]
            size = sum(file.stat().st_size for file in Path(folder).iterdir())
        maps = [(np.array(list(found)), np.stack(list(found.values()))) for found in read]
        return {"maps": maps, "bytes": size}

    return run


def ours(height: int, width: int, images: int, _device: str) -> Thunk:
    given = items(height, width, images)

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.h5"
            with ScoreWriter(path, class_names=NAMES) as out:
                for i, (classes, cams, _) in enumerate(given):
                    out.add(str(i), classes, cams)
            with open_scores(path) as store:
                maps = [tuple(store[str(i)]) for i in range(images)]
            return {"maps": maps, "bytes": path.stat().st_size}

    return run


def best_miou(maps: list[tuple[np.ndarray, np.ndarray]], truths: list[np.ndarray]) -> float:
    """In percent, at the best threshold."""
    curve = ThresholdCurve(CLASSES + 1)
    for (classes, cams), truth in zip(maps, truths, strict=True):
        curve.update(truth, classes, cams)
    return 100 * max(score(matrix).miou for matrix in curve.matrices())


def compare(height: int, width: int, images: int, a: dict[str, Any], b: dict[str, Any]) -> tuple[str, bool]:
    """Bytes and the mIoU of both."""
    truths = [truth for _, _, truth in items(height, width, images)]
    change = abs(best_miou(a["maps"], truths) - best_miou(b["maps"], truths))
    share = a["bytes"] / b["bytes"]
    return f"1/{share:.1f} of the bytes; mIoU changes by {change:.4f} points", share >= 10 and change <= 0.02


def difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    return max(float(np.abs(x[1] - y[1]).max()) for x, y in zip(a["maps"], b["maps"], strict=True))


def cases() -> list[Case]:
    return [
        Case(
            "CAM store, write and read; float32 .npy dictionaries",
            f"{images}×2×{height}×{width}",
            images * height * width,
            partial(plain, height, width, images),
            partial(ours, height, width, images),
            faster=1,
            difference=1 / 510 + 1e-6,
            compare=difference,
            note=partial(compare, height, width, images),
        )
        for height, width, images in ((188, 250, 64), (375, 500, 64), (750, 1000, 16))
    ]
