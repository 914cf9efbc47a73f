"""Five steps of CAM, SEAM and ToCo; torchrun starts it once for each process: FOLDER [ACCUMULATE].

Nothing in them depends on how a batch is cut: BatchNorm is frozen, dropout is off, and ToCo's views are not drawn.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from wsss.backbones.build import freeze
from wsss.config import stages as schema
from wsss.config.sections import Augmentation
from wsss.data.augment import Augment
from wsss.data.dataset import Record
from wsss.data.loading import Samples
from wsss.methods.load import build_method
from wsss.runtime import distributed
from wsss.training.loop import state_lock
from wsss.training.session import Place, train

IMAGES, BATCH, SIZE, K = 20, 4, 64, 3
CNN = {"name": "test_resnet", "output_stride": 8, "pretrained": False}
VIT = {"name": "test_vit", "pretrained": False, "options": {"img_size": SIZE}}
TOCO = {"crop_size": 16, "local_crops": 2, "projection": [16, 8, 16], "aux_block": -2}
TOCO["starts"] = {"seg": 2, "energy": 2}
RECIPES = {
    "cam": ({}, CNN),
    "seam": ({"dropout": 0.0, "taps": [-3, -2]}, CNN),
    "toco": (TOCO, VIT),
}


def write_images(folder: Path) -> None:
    """Random images; each class is in every third of them."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE + 8, 3), np.uint8)).save(folder / f"{number:02d}.png")


def read_records(folder: Path) -> list[Record]:
    def labels(number: int) -> np.ndarray:
        return np.array([number % 3 != k for k in range(K)], np.float32)

    paths = sorted(folder.glob("*.png"))
    return [Record(p.stem, p, None, labels(n), "train", False, (SIZE, SIZE + 8)) for n, p in enumerate(paths)]


def run(name: str, folder: Path, out: Path, accumulate: int = 1) -> None:
    """Writes `weights.safetensors` and `history.csv` to `out`."""
    method, backbone = RECIPES[name]
    training = {
        "epochs": 1,
        "batch_size": BATCH,
        "accumulate": accumulate,
        "freeze_batch_norm": True,
        "optimizer": {"lr": 0.01, "momentum": 0.9},
    }
    section = {"method": {"name": name} | method, "backbone": backbone, "training": training}
    settings = schema.TrainClassifier.model_validate(section)
    torch.manual_seed(0)
    model = build_method(settings, ["background", *(f"class {k}" for k in range(1, K + 1))])
    freeze(model.backbone, settings.training)
    samples = Samples(read_records(folder), Augment(Augmentation(crop=SIZE), (0.5,) * 3, (0.2,) * 3), rng_seed=1)
    place = Place(out, torch.device("cpu"), workers=0, checkpoint_seconds=60, identity="test")
    losses = lambda model, item, step: model(item[0], step)  # noqa: E731
    with state_lock(place.state):
        train(model, model.head_parameters(), losses, samples, settings.training, 0, place)
    if place.writes:
        save_file(model.state_dict(), out / "weights.safetensors")


def run_all(folder: Path, out: Path, accumulate: int = 1) -> None:
    first_corners = lambda candidates, count: torch.arange(count).expand(len(candidates), count)  # noqa: E731
    mirror = lambda images, _mean, _std: images.flip(-1)  # noqa: E731
    with (
        patch("wsss.methods.toco.network.draw_ranks", first_corners),
        patch("wsss.methods.toco.network.second_view", mirror),
    ):
        for name in RECIPES:
            run(name, folder, out / name, accumulate)


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.join()
    run_all(Path(sys.argv[1]), Path(sys.argv[2]))
