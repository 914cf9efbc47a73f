"""The generated `shapes` data set: small images with exact masks in PASCAL VOC's layout, made in seconds.

A class is indicated most clearly by an object's head, weakly by the body's texture and often by the background, so
that a classifier's activations cover objects partially and leak into the background, as on photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from wsss.data.palette import write_mask
from wsss.data.sources.shapes.background import Rng, draw_background
from wsss.data.sources.shapes.objects import Placed, draw_object, propose
from wsss.runtime.files import write_atomically
from wsss.runtime.labels import IGNORE

CLASS_NAMES: tuple[str, ...] = ("beetle", "bus", "kite", "cat", "eel")
"""Ellipse on sand, rounded box on brick, triangle in the sky, waisted on grass, wavy bar in water."""
SIZES = ((128, 128), (128, 112), (112, 128))
"""(H, W)."""
OBJECT_COUNTS = {1: 0.4, 2: 0.4, 3: 0.2}
"""Number of objects → probability."""
HABITAT_PROBABILITY = 0.65
"""Probability that the background has the texture of the first object's class."""
MAX_OCCLUSION = 0.22
"""Largest share of an object's visible area that later objects may cover."""
GAIN = (0.85, 1.15)
NOISE_SIGMA = 10.0
JPEG_QUALITY = 92

_PLACEMENT_TRIES = 200


def image_id(index: int) -> str:
    """The name of image `index`, without a suffix."""
    return f"shapes_{index:06d}"


def render(rng_seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask number `index` of the data set with seed `rng_seed`: (H, W, 3) and (H, W), uint8.

    They depend on nothing else. The mask holds 0 for background, 1 + the index into CLASS_NAMES for
    objects and 255 (void) along outlines.
    """
    rng = np.random.default_rng([rng_seed, index])
    height, width = (2 * side for side in SIZES[rng.integers(len(SIZES))])
    count = rng.choice(list(OBJECT_COUNTS), p=list(OBJECT_COUNTS.values()))
    kinds = rng.integers(len(CLASS_NAMES), size=count)
    strange = (kinds[0] + rng.integers(1, len(CLASS_NAMES))) % len(CLASS_NAMES)
    habitat = kinds[0] if rng.uniform() < HABITAT_PROBABILITY else strange

    canvas = draw_background(rng, height, width, habitat)
    labels = np.zeros((height, width), np.uint8)
    for placed in _arrange(rng, kinds, height, width):
        draw_object(rng, canvas, placed)
        labels[placed.window][placed.inside] = placed.kind + 1
    return _photograph(rng, canvas), _with_void(labels[::2, ::2])


def _arrange(rng: Rng, kinds: np.ndarray, height: int, width: int) -> list[Placed]:
    """One placement for each of `kinds`, from the rearmost to the frontmost.

    An object without a free place is left out; with at most three objects this does not occur in practice.
    """
    owner = np.full((height, width), -1, np.int8)
    arranged: list[Placed] = []
    for kind in kinds:
        for _ in range(_PLACEMENT_TRIES):
            placed = propose(rng, kind, height, width)
            after = owner.copy()
            after[placed.window][placed.inside] = len(arranged)
            if placed.head_in_frame and _all_visible(arranged, after):
                owner = after
                arranged.append(placed)
                break
    return arranged


def _all_visible(arranged: list[Placed], owner: np.ndarray) -> bool:
    """Whether each object keeps enough of its pixels; `owner` (H, W) holds indices into `arranged` or -1."""
    areas = np.array([placed.inside.sum() for placed in arranged])
    owned = np.bincount(owner[owner >= 0], minlength=len(areas))[: len(areas)]
    return bool((owned >= (1 - MAX_OCCLUSION) * areas).all())


def _photograph(rng: Rng, canvas: np.ndarray) -> np.ndarray:
    """The canvas (2H, 2W, 3) averaged down, with a random gain and sensor noise, (H, W, 3) uint8."""
    image = (canvas[::2, ::2] + canvas[1::2, ::2] + canvas[::2, 1::2] + canvas[1::2, 1::2]) / 4
    image *= np.float32(rng.uniform(*GAIN))
    image += np.float32(NOISE_SIGMA) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _with_void(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) with 255 wherever the 3×3 neighbourhood has two different ones."""
    height, width = labels.shape
    padded = np.pad(labels, 1, mode="edge")
    mask = labels.copy()
    for dy in range(3):
        for dx in range(3):
            mask[padded[dy : dy + height, dx : dx + width] != labels] = IGNORE
    return mask


def write_shapes(
    root: Path,
    *,
    train: int,
    val: int,
    rng_seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `train` + `val` images under `root`; validation images follow the training images in number.

    Files: JPEGImages/*.jpg, SegmentationClass/*.png (with palette), labels.csv, classes.txt and, written last,
    ImageSets/Segmentation/{train,val}.txt, whose existence means that everything listed exists.
    `progress` is called with (images done, images in all). The files do not depend on `workers`.
    """
    if train < 0 or val < 0 or train + val == 0:
        raise ValueError(f"train and val must be >= 0 and not both 0, given {train} and {val}")
    if workers < 1:
        raise ValueError(f"workers must be >= 1, given {workers}")
    lists = root / "ImageSets" / "Segmentation"
    for split in ("train", "val"):
        (lists / f"{split}.txt").unlink(missing_ok=True)

    total = train + val
    rows = ["image,labels"]
    for index, names in enumerate(_written(root, rng_seed, total, workers)):
        rows.append(f"{image_id(index)},{' '.join(names)}")
        if progress is not None:
            progress(index + 1, total)

    _write_lines(root / "labels.csv", rows)
    _write_lines(root / "classes.txt", CLASS_NAMES)
    _write_lines(lists / "train.txt", map(image_id, range(train)))
    _write_lines(lists / "val.txt", map(image_id, range(train, total)))


def _written(root: Path, rng_seed: int, total: int, workers: int) -> Iterator[list[str]]:
    """Write the images, yielding the class names of each in order."""
    write = partial(_write_image, root, rng_seed)
    if workers == 1:
        yield from map(write, range(total))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, range(total), chunksize=16)


def _write_image(root: Path, rng_seed: int, index: int) -> list[str]:
    """Write one image and its mask; return the names of the classes that the mask shows."""
    image, mask = render(rng_seed, index)
    name = image_id(index)
    photograph = Image.fromarray(image)
    write_atomically(
        root / "JPEGImages" / f"{name}.jpg", lambda path: photograph.save(path, "JPEG", quality=JPEG_QUALITY)
    )
    write_mask(root / "SegmentationClass" / f"{name}.png", mask)
    return [CLASS_NAMES[i - 1] for i in np.unique(mask) if i not in (0, IGNORE)]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_atomically(path, "".join(f"{line}\n" for line in lines))
