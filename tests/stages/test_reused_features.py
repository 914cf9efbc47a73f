"""Features of photographs that did not change: copied, never computed again, the same bits as computed afresh."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from wsss.backbones.build import build_backbone
from wsss.config.stages import ComputeFeatures, TrainClassifier
from wsss.data.changes import changes
from wsss.data.dataset import Dataset, write_index
from wsss.data.palette import voc_palette
from wsss.methods import training
from wsss.plan.earlier import earlier_folders
from wsss.plan.manifest import Manifest
from wsss.runtime.progress import job_file
from wsss.stages import compute_features as stage
from wsss.stages.shards import Shard
from wsss.store.features import FeatureStore
from wsss.store.merging import merge

SIZES = [(40, 56), (48, 48), (40, 56), (40, 56), (48, 48), (40, 56), (40, 56), (48, 48)]
SETTINGS = ComputeFeatures(
    backbone={"name": "test_resnet", "output_stride": 8, "pretrained": False}, scales=[1.0, 1.5], stages=[1, "final"]
)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return build_backbone(SETTINGS.backbone)


def table(folder, numbers, val=()):
    """A data set of some of the photographs."""
    rows = []
    for i in numbers:
        image = folder.parent / f"{i}.png"
        if not image.exists():
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (*SIZES[i], 3), np.uint8)).save(image)
        row = {"image_id": str(i), "image": str(image), "mask": "", "labels": "cat", "measured": "0"}
        rows.append(row | {"split": "val" if i in val else "train"})
    write_index(folder, "folder", ["background", "cat"], voc_palette(), rows)
    return Dataset(folder)


def compute(dataset, backbone, folder, resume=None, earlier=()):
    """The stage's file of a split, made of one shard."""
    folder.mkdir(parents=True, exist_ok=True)
    shard, part = Shard("train", resume=resume), folder / "part"
    with job_file(folder / "progress" / "job.json", "compute_features", None):
        stage.compute_features(
            SETTINGS, dataset, backbone, part, shard=shard, device=torch.device("cpu"), earlier=earlier
        )
    merge([part], folder / "train.h5", [record.image_id for record in dataset.split("train")])
    return folder / "train.h5"


def seen(monkeypatch):
    """Sizes of the groups that the network is shown."""
    counts, plain = [], stage.feature_maps

    def counting(network, images, *rest):
        counts.append(len(images))
        return plain(network, images, *rest)

    monkeypatch.setattr(stage, "feature_maps", counting)
    return counts


def test_a_network_without_weights_is_the_same_in_every_process(monkeypatch):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(torch.cat([p.detach().flatten() for p in stage.network(SETTINGS).parameters()]))
    section = TrainClassifier(method={"name": "linear"}, backbone=SETTINGS.backbone, training=None)
    monkeypatch.setattr(training, "save_model", lambda model, *_: found.append(model.backbone))
    monkeypatch.setattr(training, "measure", lambda *_: None)
    monkeypatch.setattr("wsss.methods.linear.network.LinearMethod.fit", lambda *_: [])
    dataset = SimpleNamespace(class_names=["background", "cat"], split=lambda _: [])
    place = SimpleNamespace(out=Path("/dev"), writes=True, tensorboard=None, device=None)
    monkeypatch.setattr(training, "write_history", lambda *_: None)
    training.train_classifier(section, dataset, place, SimpleNamespace(open=lambda _: None))
    found[2] = torch.cat([p.detach().flatten() for p in found[2].parameters()])
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_new_photographs_alone_are_computed_and_no_bit_differs(tmp_path, backbone, monkeypatch):
    before = compute(table(tmp_path / "a", [0, 1, 3, 4, 6], val=[4]), backbone, tmp_path / "old")
    after = table(tmp_path / "b", range(8))
    fresh = compute(after, backbone, tmp_path / "fresh")
    counts = seen(monkeypatch)
    reused = compute(after, backbone, tmp_path / "new", earlier=[before.parent])
    assert sum(counts) == 4  # 2, 5 and 7 are new; 4 was of the other split, whose file is not there
    assert reused.read_bytes() == fresh.read_bytes()
    told = json.loads((tmp_path / "new/progress/job.json").read_text())
    assert (told["reused"], told["done"], told["total"]) == (4, 8, 8)


def test_a_photograph_that_changed_or_a_damaged_store_is_computed(tmp_path, backbone, monkeypatch):
    first = table(tmp_path / "a", range(6))
    before = compute(first, backbone, tmp_path / "old")
    Image.fromarray(np.zeros((*SIZES[2], 3), np.uint8)).save(tmp_path / "2.png")
    counts = seen(monkeypatch)
    changed = compute(first, backbone, tmp_path / "new", earlier=[before.parent])
    assert sum(counts) == 1
    with FeatureStore(changed) as new, FeatureStore(before) as old:
        assert [i for i in old if new.record(i) != old.record(i)] == ["2"]
    (tmp_path / "old/train.h5").write_bytes(b"no HDF5")
    again = compute(first, backbone, tmp_path / "again", earlier=[before.parent])
    assert sum(counts) == 1 + 6 and again.read_bytes() == changed.read_bytes()


def test_a_stopped_job_goes_on_to_the_same_bits(tmp_path, backbone, monkeypatch):
    before = compute(table(tmp_path / "a", [0, 1, 3]), backbone, tmp_path / "old")
    after = table(tmp_path / "b", range(8))
    fresh = compute(after, backbone, tmp_path / "fresh")
    plain, calls = stage.feature_maps, []

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(stage, "feature_maps", stops)
    with pytest.raises(KeyboardInterrupt):
        compute(after, backbone, tmp_path / "new", "token", earlier=[before.parent])
    monkeypatch.setattr(stage, "feature_maps", plain)
    done = compute(after, backbone, tmp_path / "new", "token", earlier=[])  # the earlier results were cleaned meanwhile
    assert done.read_bytes() == fresh.read_bytes()


def test_earlier_results_are_those_of_the_same_work_the_newest_first(tmp_path):
    def put(key, upstream, settings, age):
        (tmp_path / key).mkdir()
        Manifest("compute_features", settings, "code", {"data": upstream}).write(tmp_path / key)
        os.utime(tmp_path / key / "manifest.json", (1000 - age, 1000 - age))

    put("mine", "x", {"scales": [1]}, 0)
    put("older", "y", {"scales": [1]}, 20)
    put("newer", "z", {"scales": [1]}, 10)
    put("other", "y", {"scales": [2]}, 5)
    (tmp_path / "newer" / "note").write_text("")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    assert [folder.name for folder in earlier_folders(tmp_path / "mine", "upstream")] == ["newer", "older"]


def test_what_changed_is_one_line():
    before = {"a": frozenset({"cat"}), "b": frozenset({"dog"}), "c": frozenset()}
    after = {"a": frozenset({"dog", "cat"}), "b": frozenset({"dog"}), **{f"n{i}": frozenset() for i in range(12)}}
    assert changes(before, after) == "12 new images, 1 image gone, 1 label changed: a (cat → cat + dog)"
    assert changes(before, before) is None
