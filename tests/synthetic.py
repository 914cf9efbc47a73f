"""A finished run written straight to disk: everything that a report reads, and nothing trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from wsss.config.stages import Row
from wsss.data.dataset import Dataset, write_index
from wsss.data.palette import voc_palette
from wsss.measure.table import evaluate
from wsss.runtime.labels import IGNORE
from wsss.stages.collect import collect
from wsss.store.writers import LabelWriter, ScoreWriter

HOSTILE_CLASS = "<script>document.title='owned'</script>"
CLASSES = ("background", HOSTILE_CLASS, "quo\"te'd & co", "猫", "кот")
HOSTILE_RUN = "</title><script>document.title='owned'</script>"
TRAINING = {
    "epochs": 3,
    "batch_size": 8,
    "optimizer": {"name": "sgd", "lr": 0.1},
    "schedule": {"name": "poly"},
    "augment": {"crop": 64},
}
BACKBONE = {"name": "test_resnet", "output_stride": 8, "pretrained": False}
CRF = {
    "gaussian_sxy": 3,
    "gaussian_weight": 3,
    "bilateral_sxy": 80,
    "bilateral_srgb": 13,
    "bilateral_weight": 10,
    "steps": 10,
}
CONFIGS = {
    "prepare_data": {"dataset": "folder", "root": "data/<b>"},
    "train_classifier": {"method": {"name": "cam", "pooling": "average"}, "backbone": BACKBONE, "training": TRAINING},
    "infer_cam": {"scales": [1.0, 0.5], "flip": True, "fusion": "max"},
    "choose_threshold": {"policy": "oracle"},
    "refine_cam": {"alpha": 6, "beta": 8, "steps": 64},
    "make_pseudo_labels": {"crf": CRF},
    "train_segmentation": {"architecture": "FPN", "backbone": BACKBONE, "training": TRAINING},
    "segment": {"scales": [1.0], "flip": True, "crf": None},
}
ROWS = [
    ("cam", "train", "infer_cam", "train.h5"),
    ("cam", "val", "infer_cam", "val.h5"),
    ("refined", "train", "refine_cam", "train.h5"),
    ("pseudo_label", "train", "make_pseudo_labels", "train.h5"),
    ("segmentation", "val", "segment", "val.h5"),
]


def image_name(i: int) -> str:
    """Ids that a careless page would run, break or misread."""
    return ("img<script>alert(1)</script>", "a\"b'c", "図", "plain")[i % 4] + f"-{i:04d}"


def make_run(
    results: Path,
    name: str,
    *,
    train: int,
    val: int,
    size: tuple[int, int] = (48, 64),
    seed: int = 0,
    noise: int = 40,
) -> Path:
    """Writes `results/stages/…` and `results/run{seed}`, and gives the latter; every image has a mask."""
    folders = {stage: results / "stages" / stage / f"{seed:016x}" for stage in [*CONFIGS, "evaluate"]}
    for stage, folder in folders.items():
        _records(folder, stage, CONFIGS.get(stage, {}))
    rng = np.random.default_rng(seed)
    dataset = _dataset(folders["prepare_data"], rng, train, val, size, noise)
    for split in ("train", "val"):
        _stores(folders, dataset, split, rng)
    threshold = {"threshold": 0.3, "source": "oracle"}
    (folders["choose_threshold"] / "threshold.json").write_text(json.dumps(threshold))
    for stage in ("train_classifier", "train_segmentation"):
        _history(folders[stage] / "history.csv", rng)
    return _finish(results, name, folders, dataset, threshold, seed)


def _records(folder: Path, stage: str, config: dict) -> None:
    (folder / "timing").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    timing = {"stage": stage, "seconds": 12.5, "started": 0.0, "device": "cpu", "threads": 1}
    (folder / "timing" / "log.json").write_text(json.dumps(timing))


def _dataset(
    folder: Path, rng: np.random.Generator, train: int, val: int, size: tuple[int, int], noise: int
) -> Dataset:
    (folder / "images").mkdir()
    palette = voc_palette(len(CLASSES))
    rows = []
    for i in range(train + val):
        mask = _mask(rng, size)
        picture = palette[np.where(mask == IGNORE, 0, mask)] // 2 + rng.integers(0, noise, (*size, 3), np.uint8)
        Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{i}.jpg", quality=85)
        Image.fromarray(mask).save(folder / "images" / f"{i}.png")
        present = [CLASSES[c] for c in np.unique(mask) if c not in (0, IGNORE)]
        row = {"image_id": image_name(i), "image": f"images/{i}.jpg", "mask": f"images/{i}.png", "measured": "1"}
        rows.append(row | {"labels": ";".join(present), "split": "train" if i < train else "val"})
    write_index(folder, "<i>made up</i>", list(CLASSES), palette, rows)
    return Dataset(folder)


def _mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Background, a rectangle or two, and a border of ignored pixels around the first."""
    mask = np.zeros(size, np.uint8)
    for k, c in enumerate(rng.choice(np.arange(1, len(CLASSES)), rng.integers(1, 3), replace=False)):
        y, x = rng.integers(2, size[0] // 2), rng.integers(2, size[1] // 2)
        h, w = rng.integers(8, size[0] // 2), rng.integers(8, size[1] // 2)
        if k == 0:
            mask[y - 2 : y + h + 2, x - 2 : x + w + 2] = IGNORE
        mask[y : y + h, x : x + w] = c
    return mask


def _stores(folders: dict[str, Path], dataset: Dataset, split: str, rng: np.random.Generator) -> None:
    """Maps that are the truth, moved by up to a quarter of the image."""
    from wsss.data.dataset import read_mask

    about = {"class_names": dataset.class_names}
    with (
        ScoreWriter(folders["infer_cam"] / f"{split}.h5", **about) as cams,
        ScoreWriter(folders["refine_cam"] / f"{split}.h5", **about) as walks,
        LabelWriter(folders["make_pseudo_labels"] / f"{split}.h5", palette=dataset.palette, **about) as labels,
        LabelWriter(folders["segment"] / f"{split}.h5", palette=dataset.palette, **about) as masks,
    ):
        for record in dataset.split(split):
            truth = read_mask(record.mask)
            wrong = np.roll(truth, rng.integers(0, truth.shape[1] // 4), axis=1)
            scores = np.stack([0.8 * (wrong == c) + 0.1 for c in record.classes]).astype(np.float32)
            cams.add(record.image_id, record.classes, scores)
            with_background = np.concatenate([np.full((1, *truth.shape), 0.3, np.float32), scores])
            walks.add(record.image_id, [0, *record.classes], with_background)
            labels.add(record.image_id, wrong)
            masks.add(record.image_id, np.where(wrong == IGNORE, 0, wrong).astype(np.uint8))


def _history(path: Path, rng: np.random.Generator, steps: int = 400) -> None:
    x = np.arange(steps)
    loss = np.exp(-x / 100) + 0.1 * rng.random(steps)
    lines = [f"{i},{0.1 * (1 - i / steps):.5f},{value:.5f}" for i, value in zip(x, loss, strict=True)]
    path.write_text("\n".join(["step,lr,cls", *lines]) + "\n")


def _finish(results: Path, name: str, folders: dict[str, Path], dataset: Dataset, threshold: dict, seed: int) -> Path:
    rows = [Row(stage=s, split=p, file=f) for s, p, _, f in ROWS]
    where = {f"{s}-{p}": folders[stage] for s, p, stage, _ in ROWS}
    evaluate(rows, dataset, where, threshold, folders["evaluate"])
    config = {"rows": [row.model_dump() for row in rows]}
    (folders["evaluate"] / "config.yaml").write_text(yaml.safe_dump(config))
    roles = {"data": "prepare_data", "threshold": "choose_threshold"} | {f"{s}-{p}": st for s, p, st, _ in ROWS}
    steps = [
        {"label": stage, "stage": stage, "folder": str(folder), "upstream": roles if stage == "evaluate" else {}}
        for stage, folder in folders.items()
    ]
    published = {"pseudo_label-train": {"miou": 61.0, "source": "<b>Some paper</b>, 2020"}}
    run = results / f"run{seed}"
    collect(run, {"run": name, "published": published, "steps": steps}, folders["evaluate"] / "miou.csv")
    return run
