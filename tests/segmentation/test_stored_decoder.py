"""A decoder on stored features, as the stages run it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from small_data import make_folder
from wsss.backbones.build import build_backbone
from wsss.config.run import Run
from wsss.config.stages import TrainSegmentation
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data
from wsss.segmentation import stored_training
from wsss.segmentation.load import load_segmentation
from wsss.segmentation.stored_decoder import area_target
from wsss.stages.compute_features import compute_features
from wsss.stages.segment import segment
from wsss.stages.shards import Shard
from wsss.store.features import FeatureFiles
from wsss.store.maps import open_labels
from wsss.training.session import Place

CPU = torch.device("cpu")
BACKBONE = {"name": "test_resnet", "output_stride": 8, "pretrained": False}
TRAINING = {"epochs": 10, "batch_size": 2, "optimizer": {"name": "adamw", "lr": 1e-2, "head_lr_multiplier": 1}}


def test_targets_are_shares_of_the_labelled_area():
    label = torch.tensor([[0, 0, 1, 255], [0, 1, 255, 255]], dtype=torch.uint8)
    target, weight = area_target(label, 2, (1, 2))
    torch.testing.assert_close(target[:, 0], torch.tensor([[0.75, 0.0], [0.25, 1.0]]))
    torch.testing.assert_close(weight, torch.tensor([[1.0, 0.25]]))


DECODERS = {
    "convolutions": {
        "architecture": "FeatureDecoder",
        "options": {"width": 16, "dropout": 0.0},
        "backbone": BACKBONE,
        "stages": [0, "final"],
        "training": TRAINING,
    },
    "tokens": {
        "architecture": "TokenDecoder",
        "options": {"width": 16, "layers": 1, "heads": 2},
        "backbone": {"name": "test_vit", "output_stride": None, "pretrained": False, "options": {"img_size": 32}},
        "stages": [0, "final"],
        "training": TRAINING | {"epochs": 30},
    },
}


@pytest.mark.parametrize("section", DECODERS.values(), ids=DECODERS)
def test_a_decoder_learns_and_sees_in_photographs_what_it_sees_in_stored_features(section, tmp_path, monkeypatch):
    torch.manual_seed(0)
    run = Run.model_validate(
        {
            "prepare_data": make_folder(tmp_path),
            "compute_features": {"backbone": section["backbone"], "scales": [1.0, 2.0], "stages": [0, "final"]},
            "train_segmentation": section | {"labels": "ground_truth"},
            "segment": {"scales": [1.0, 2.0], "flip": False},
        }
    )
    prepare_data(run.prepare_data, tmp_path / "data", 1)
    dataset, backbone = Dataset(tmp_path / "data"), build_backbone(run.compute_features.backbone)
    monkeypatch.setattr(stored_training, "build_backbone", lambda _settings: backbone)  # weights are random
    (tmp_path / "features").mkdir()
    for split in ("train", "val"):
        file = tmp_path / "features" / f"{split}.h5"
        compute_features(run.compute_features, dataset, backbone, file, shard=Shard(split), device=CPU)
    files = FeatureFiles(tmp_path / "features")
    for name in ("first", "second"):
        place = Place(tmp_path / name, CPU, 0, 60.0, "x")
        (place.out / "state").mkdir(parents=True)
        stored_training.train_decoder(run.train_segmentation, dataset, None, files.open("train"), place)
    assert (tmp_path / "first/model.safetensors").read_bytes() == (tmp_path / "second/model.safetensors").read_bytes()
    losses = np.loadtxt(tmp_path / "first" / "history.csv", delimiter=",", skiprows=1)
    assert losses[-4:, 2].mean() < 0.7 * losses[:4, 2].mean()
    training = run.train_segmentation.training.model_copy(update={"stop_after": 2})
    section = run.train_segmentation.model_copy(update={"training": training})
    stored_training.train_decoder(section, dataset, None, files.open("train"), Place(tmp_path, CPU, 0, 60.0, "x"))
    stopped = np.loadtxt(tmp_path / "history.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(stopped, losses[:2])

    model = load_segmentation(tmp_path / "first" / "model.safetensors")
    about = {"shard": Shard("val"), "device": CPU}
    segment(run.segment, dataset, model, [tmp_path / "seen.h5"], **about)
    segment(run.segment, dataset, model, [tmp_path / "stored.h5"], **about, features=files.open("val"))
    with open_labels(tmp_path / "seen.h5") as seen, open_labels(tmp_path / "stored.h5") as stored:
        same = [(seen[r.image_id] == stored[r.image_id]).mean() for r in dataset.split("val")]
    assert min(same) > 0.97
    assert model.predict(dataset.split("val")[0].image).shape == (24, 32)


@pytest.mark.parametrize(
    "idle",
    [{"amp": "bf16"}, {"accumulate": 2}, {"freeze_stages": 1}, {"freeze_batch_norm": True}, {"augment": {"crop": 64}}],
)
def test_settings_that_have_no_effect_on_features_are_refused(idle):
    section = {"architecture": "FeatureDecoder", "backbone": BACKBONE, "stages": ["final"], "training": idle}
    with pytest.raises(ValueError, match=rf"training\.{next(iter(idle))}.* has no effect on stored features"):
        TrainSegmentation.model_validate(section)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stages": None}, "stages belong to architecture FeatureDecoder, which needs them, or TokenDecoder"),
        ({"architecture": "Unet"}, r"stages belong to .*; found Unet with stages \['final'\]"),
        ({"init": "classifier"}, "init: classifier does not go with stages"),
        ({"architecture": "TokenDecoder", "options": {"blocks": [0]}}, "options.blocks does not go with stages"),
    ],
)
def test_stages_belong_to_decoders_of_stored_features(changes, told):
    section = {"architecture": "FeatureDecoder", "backbone": BACKBONE, "stages": ["final"]} | changes
    with pytest.raises(ValueError, match=told):
        Run.model_validate({"prepare_data": {"dataset": "shapes"}, "train_segmentation": section})
