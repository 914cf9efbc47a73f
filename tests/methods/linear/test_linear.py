"""From stored features to maps, as the stages run it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from small_data import make_folder
from wsss.backbones.build import build_backbone
from wsss.config.run import Run
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data
from wsss.localise.inference import image_scores, stored_image_scores
from wsss.measure.mistakes import folds
from wsss.methods.load import load_classifier
from wsss.methods.training import train_classifier
from wsss.refine.base import Models
from wsss.stages.compute_features import compute_features
from wsss.stages.infer_cam import infer_cam
from wsss.stages.refine_cam import refine_cam
from wsss.stages.shards import Shard
from wsss.store.features import FeatureFiles, FeatureStore
from wsss.store.maps import open_scores
from wsss.store.merging import merge
from wsss.training.session import Place

CPU = torch.device("cpu")
BACKBONE = {"name": "test_resnet", "output_stride": 8, "pretrained": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of six images, the run's settings and a folder with the features of both splits."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("linear")
    run = Run.model_validate(
        {
            "prepare_data": make_folder(root),
            "compute_features": {"backbone": BACKBONE, "scales": [1.0, 2.0], "stages": [-2, "final"]},
            "train_classifier": {"method": {"name": "linear"}, "backbone": BACKBONE, "training": None},
            "infer_cam": {"scales": [1.0, 2.0], "flip": False},
            "refine_cam": {"method": "propagation", "source": "stored", "stages": [-2, "final"], "scale": 2.0},
        }
    )
    prepare_data(run.prepare_data, root / "data", 1)
    dataset, backbone = Dataset(root / "data"), build_backbone(run.compute_features.backbone)
    (root / "features").mkdir()
    for split in ("train", "val"):
        file = root / "features" / f"{split}.h5"
        compute_features(run.compute_features, dataset, backbone, file, shard=Shard(split), device=CPU)
    return root, run, dataset, backbone


@pytest.fixture(scope="module", params=["average", "top_quarter"])
def trained(request, made):
    root, run, dataset, backbone = made
    place = Place(root / request.param, CPU, 0, 60.0, "x")
    place.out.mkdir()
    method = run.train_classifier.method.model_copy(update={"pooling": request.param})
    section = run.train_classifier.model_copy(update={"method": method})
    train_classifier(section, dataset, place, FeatureFiles(root / "features"))
    model = load_classifier(place.out / "model.safetensors")
    model.backbone.load_state_dict(backbone.state_dict())  # both were drawn at random
    return model


def test_the_number_of_shards_changes_no_byte(made, tmp_path):
    root, run, dataset, backbone = made
    parts = [tmp_path / f"{i}.h5" for i in range(3)]
    for i, part in enumerate(parts):
        compute_features(run.compute_features, dataset, backbone, part, shard=Shard("train", i, 3), device=CPU)
    merge(parts, tmp_path / "train.h5", [r.image_id for r in dataset.split("train")])
    whole = [root / "features" / "train.h5"]
    merge(whole, tmp_path / "one.h5", [r.image_id for r in dataset.split("train")])
    assert (tmp_path / "train.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_features_come_back_by_scale_and_stage(made):
    root, _run, dataset, backbone = made
    record = dataset.split("val")[0]
    with FeatureStore(root / "features" / "val.h5") as store:
        assert store.stage(record.image_id, 2.0, "final").shape == (1, backbone.channels, 6, 8)
        for wanted, message in (((1.5, "final"), "scale 1.5"), ((1.0, -1), r"stages \[-1\]")):
            with pytest.raises(ValueError, match=message):
                store.stage(record.image_id, *wanted)


def test_the_loss_falls_and_the_training_is_deterministic(made, trained):
    root, _run, dataset, _ = made
    store, records = FeatureFiles(root / "features").open("train"), dataset.split("train")
    again = load_classifier(root / trained.settings.pooling / "model.safetensors")
    torch.nn.init.zeros_(again.classifier.weight)
    torch.nn.init.zeros_(again.classifier.bias)
    losses = again.fit(store, records, CPU)
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(again.classifier.weight, trained.classifier.weight)


def test_a_held_out_score_does_not_depend_on_the_image_itself(made, trained):
    store, records = FeatureFiles(made[0] / "features").open("train"), made[2].split("train")
    parts = folds(len(records))
    before = trained.held_out(store, records, parts)
    changed = parts[1][0]
    other = [replace(r, labels=1 - r.labels) if i == changed else r for i, r in enumerate(records)]
    moved = np.abs(trained.held_out(store, other, parts) - before).max(1)
    assert moved[parts[1]].max() == 0 and moved[np.concatenate([parts[0], *parts[2:]])].min() > 0


def test_stored_features_give_the_scores_of_the_photographs(made, trained):
    store, records = FeatureFiles(made[0] / "features").open("val"), made[2].split("val")
    (wanted, labels), (found, _) = image_scores(trained, records, CPU), stored_image_scores(trained, store, records)
    np.testing.assert_array_equal(labels, [record.labels for record in records])
    np.testing.assert_allclose(found, wanted, atol=0.02, rtol=0.02)


def test_stored_features_give_the_maps_of_the_photographs(made, trained, tmp_path):
    root, run, dataset, _ = made
    about = {"shard": Shard("val"), "device": CPU}
    infer_cam(run.infer_cam, dataset, trained, tmp_path / "photographs.h5", **about)
    store = FeatureFiles(root / "features").open("val")
    infer_cam(run.infer_cam, dataset, trained, tmp_path / "stored.h5", **about, features=store)
    with open_scores(tmp_path / "photographs.h5") as wanted, open_scores(tmp_path / "stored.h5") as found:
        for record in dataset.split("val"):
            np.testing.assert_allclose(found[record.image_id].scores, wanted[record.image_id].scores, atol=0.02)


def test_propagation_reads_stored_features(made, trained, tmp_path):
    root, run, dataset, _ = made
    store = FeatureFiles(root / "features").open("train")
    about = {"shard": Shard("train"), "device": CPU, "features": store}
    infer_cam(run.infer_cam, dataset, trained, tmp_path / "cam.h5", **about)
    refine = run.refine_cam.load()(run.refine_cam, Models(root / trained.settings.pooling / "model.safetensors"), CPU)
    refine_cam(refine, dataset, tmp_path / "cam.h5", tmp_path / "refined.h5", **about)
    with open_scores(tmp_path / "refined.h5") as found:
        for record in dataset.split("train"):
            assert found[record.image_id].classes.tolist() == [0, *record.classes]
            assert found[record.image_id].scores.max() > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"compute_features": None}, "uses features"), ({"compute_features": {"backbone": {"name": "x"}}}, "same")],
)
def test_a_method_without_its_features_is_refused(made, changes, message):
    given = made[1].model_dump(mode="json") | changes
    with pytest.raises(ValueError, match=message):
        Run.model_validate(given)
