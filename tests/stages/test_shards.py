"""The number of shards changes no byte of features and of a frozen CLIP's maps, shards without any image included."""

from __future__ import annotations

import pytest
import torch

from names import class_names
from small_data import picture
from tiny_clip import BACKBONE, save_clip
from wsss.backbones.build import build_backbone
from wsss.config.run import Run
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data
from wsss.methods.load import build_method
from wsss.stages.compute_features import compute_features
from wsss.stages.infer_cam import infer_cam
from wsss.stages.shards import Shard
from wsss.store.merging import merge

CPU = torch.device("cpu")
SIZES = [(24, 32), (32, 24), (24, 32), (40, 30), (32, 32), (40, 30)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of images of four sizes, the run's settings, and the file of a whole CLIP."""
    root = tmp_path_factory.mktemp("shards")
    (root / "photos").mkdir()
    names, rows = class_names(2)[1:], ["image,labels,split"]
    for number, size in enumerate(SIZES):
        picture(number, size).save(root / "photos" / f"{number}.png")
        rows.append(f"{number},{names[number % 2]},{'val' if number == 5 else 'train'}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    clip = save_clip(root / "clip.safetensors")
    backbone = BACKBONE | {"checkpoint": str(clip)}
    data = {"dataset": "folder", "images": str(root / "photos"), "labels": str(root / "labels.csv")}
    run = Run.model_validate(
        {
            "prepare_data": data,
            "compute_features": {"backbone": backbone, "scales": [1.0, 2.0], "stages": ["final"]},
            "train_classifier": {
                "method": {"name": "clip", "affinity_blocks": 2},
                "backbone": backbone,
                "training": None,
            },
            "infer_cam": {"scales": [1.0], "flip": False, "fusion": "clip_es"},
        }
    )
    prepare_data(run.prepare_data, root / "data", 1)
    return Dataset(root / "data"), run, clip


@pytest.fixture(scope="module", params=["compute_features", "infer_cam"])
def write(request, made):
    """Writes a shard's file, by a stage."""
    dataset, run, clip = made
    if request.param == "compute_features":
        backbone = build_backbone(run.compute_features.backbone)
        return lambda file, shard: compute_features(
            run.compute_features, dataset, backbone, file, shard=shard, device=CPU
        )
    model = build_method(run.train_classifier, dataset.class_names).eval()
    model.name_classes(dataset.class_names[1:], clip)
    return lambda file, shard: infer_cam(run.infer_cam, dataset, model, file, shard=shard, device=CPU)


def test_one_three_and_eight_shards_give_the_same_bytes(made, write, tmp_path):
    order, found = [record.image_id for record in made[0].split("train")], set()
    for count in (1, 3, 8):
        parts = [tmp_path / f"{i}-of-{count}.h5" for i in range(count)]
        for i, part in enumerate(parts):
            write(part, Shard("train", i, count))
        merge(parts, tmp_path / "whole.h5", order)
        found.add((tmp_path / "whole.h5").read_bytes())
    assert len(found) == 1
