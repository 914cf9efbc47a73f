"""Files between stages, and weights from elsewhere: damaged, of another run, not finite, or not to be trusted."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from names import class_names
from small_data import make_folder, picture
from wsss.config import run as schema
from wsss.data.dataset import Dataset
from wsss.data.download import extract
from wsss.methods.load import build_method
from wsss.store.models import read_model, save_model
from wsss.store.writers import LabelWriter, ScoreWriter

CLASSIFIER = {"method": {"name": "cam"}, "backbone": {"name": "test_resnet", "pretrained": False}}
LABELS = {"par": None, "crf": None}
INFER = {"scales": [1.0], "flip": False}


@pytest.fixture
def data(stage, tmp_path):
    settings = make_folder(tmp_path / "source")
    assert stage("prepare_data", tmp_path / "data", config=settings).code == 0
    return tmp_path / "data"


def write_threshold(folder: Path) -> Path:
    path = folder / "threshold.json"
    path.write_text('{"threshold": 0.3, "source": "fixed"}')
    return path


def write_scores(path, data, names=None, skip=None):
    dataset = Dataset(data)
    with ScoreWriter(path, class_names=names or dataset.class_names) as out:
        for record in dataset.split("train"):
            if record.image_id != skip:
                maps = np.random.default_rng(0).random((len(record.classes), *record.size), np.float32)
                out.add(record.image_id, record.classes, maps)
    return path


def write_labels(path, data):
    dataset = Dataset(data)
    with LabelWriter(path, class_names=dataset.class_names, palette=dataset.palette) as out:
        for record in dataset.split("train"):
            out.add(record.image_id, np.zeros(record.size, np.uint8))
    return path


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def text(path):
    path.write_text("not HDF5")
    return path


STORES = {
    "truncated": (lambda p, d: cut(write_scores(p, d)), "not a complete HDF5 file"),
    "last bytes missing": (lambda p, d: cut(write_scores(p, d), 0.99), "not a complete HDF5 file"),
    "empty": (lambda p, d: cut(write_scores(p, d), 0), "not a complete HDF5 file"),
    "text": (lambda p, d: text(p), "not a complete HDF5 file"),
    "labels instead of scores": (lambda p, d: write_labels(p, d), "holds wsss-labels version 4, expected wsss-scores"),
    "classes of another run": (
        lambda p, d: write_scores(p, d, ["background", "cow", "eel"]),
        "of another run or data set: its classes are background, cow, eel, the data set's background, cat, dog",
    ),
    "images of another run": (lambda p, d: write_scores(p, d, skip="b"), "no image 'b' in it; the file is of another"),
    "missing": (lambda p, d: p, "no such file|No such file"),
}


@pytest.mark.parametrize("case", STORES)
def test_stores_that_cannot_be_used(case, stage, data, tmp_path):
    make, message = STORES[case]
    scores = make(tmp_path / "scores.bin", data)
    file, threshold = tmp_path / "out" / "x.h5", write_threshold(tmp_path)
    arguments = ["--data", data, "--scores", scores, "--threshold", threshold, "--split", "train", "--file", file]
    stage("make_pseudo_labels", tmp_path / "out", *arguments, config=LABELS).assert_refused(message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p, d: [cut(write_labels(p / "a.bin", d))], "not a complete HDF5 file"),
        (lambda p, d: [write_scores(p / "a.bin", d, skip="b")], "1 images in no shard, first 'b'"),
        (lambda p, d: [write_labels(p / "a.bin", d), write_scores(p / "b.bin", d)], "differ in kind, class names"),
        (lambda p, d: [write_labels(p / "a.bin", d), write_labels(p / "b.bin", d)], "is both in"),
    ],
)
def test_shards_that_do_not_join(make, message, stage, data, tmp_path, caplog):
    (tmp_path / "out").mkdir()
    shards = make(tmp_path, data)
    refused = stage(
        "merge_shards", tmp_path / "out", "--data", data, "--split", "train", "--file", tmp_path / "out/x.h5", *shards
    )
    assert refused.code == 2 and message in caplog.text
    assert list((tmp_path / "out").iterdir()) == []


def spoil_index(data):
    path = data / "index.csv"
    path.write_text(path.read_text().replace("cat", "cow"))
    (data / "tables.json").unlink(missing_ok=True)  # whose digest would tell before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: cut(d / "dataset.json"), r"dataset\.json: damaged .*; delete its folder to make it again"),
        (spoil_index, r"index\.csv line 2: damaged \(KeyError\('cow'\)\); delete"),
        (lambda d: cut(d / "index.csv", 0.95), r"index\.csv: damaged \(it is not what was written"),
        (lambda d: (d / "index.csv").unlink(), "index.csv: no such file"),
    ],
)
def test_damaged_tables(spoil, message, stage, data, tmp_path):
    scores = write_scores(tmp_path / "scores.bin", data)
    spoil(data)
    file, threshold = tmp_path / "out" / "x.h5", write_threshold(tmp_path)
    arguments = ["--data", data, "--scores", scores, "--threshold", threshold, "--split", "train", "--file", file]
    stage("make_pseudo_labels", tmp_path / "out", *arguments, config=LABELS).assert_refused(message)


def test_an_image_that_changed_after_prepare_data(stage, data, tmp_path):
    scores = write_scores(tmp_path / "scores.bin", data)
    picture(3, (30, 30)).save(tmp_path / "source" / "photos" / "a.jpg")
    file, threshold = tmp_path / "out" / "x.h5", write_threshold(tmp_path)
    arguments = ["--data", data, "--scores", scores, "--threshold", threshold, "--split", "train", "--file", file]
    refused = stage("make_pseudo_labels", tmp_path / "out", *arguments, config=LABELS)
    refused.assert_refused(r"a\.jpg: size \(30, 30\), but it was \(24, 32\) when prepared")


class Shell:
    """Runs a command when unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"touch {self.folder}/pwned",)


def classifier(path):
    settings = schema.TrainClassifier.model_validate(CLASSIFIER)
    model = build_method(settings, class_names(2), weights=False)
    save_model(model, path, "classifier", settings.model_dump(mode="json"), ["background", "cat", "dog"])
    return path


def with_tensors(path, change=lambda tensors: tensors, backbone=(), **more):
    """A model file without digests, as a stranger may write it, with other tensors or another description."""
    tensors, settings, classes = read_model(classifier(path), "classifier")
    settings["backbone"] |= dict(backbone)
    about = {"kind": "classifier", "settings": settings, "classes": classes} | more
    save_file(change(tensors), path, {"wsss": json.dumps(about)})
    return path


def whole(tensors):
    return {name: tensor.to(torch.int32) for name, tensor in tensors.items()}


def nan(tensors):
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    return tensors | {name: torch.full_like(tensors[name], float("nan"))}


def renamed(tensors):
    return {f"other.{name}": tensor for name, tensor in tensors.items()}


MODELS = {
    "truncated": (lambda p: cut(classifier(p)), "not a readable safetensors file"),
    "text": (text, "not a readable safetensors file"),
    "folder": (lambda p: p.mkdir() or p, "is a folder; accepted is a model file"),
    "no wsss model": (lambda p: save_file({"a": torch.zeros(1)}, p) or p, "not a model written by wsss"),
    "another architecture": (lambda p: with_tensors(p, renamed), "does not fit CAM: .* missing: .* unexpected: other"),
    "NaN": (lambda p: with_tensors(p, nan), r"holds NaN or infinite values in 1 tensor\(s\)"),
    "whole numbers": (lambda p: with_tensors(p, whole), "does not fit CAM: .* of whole or complex numbers: "),
    "a web page": (lambda p: p.write_text("<html>404</html>") and p, "is a web page instead of weights"),
    "settings of another version": (
        lambda p: with_tensors(p, settings={"methode": {}}),
        r"model\.bin: methode: unknown key; did you mean 'method'\?",
    ),
    "classes twice": (
        lambda p: with_tensors(p, classes=["background", "cat", "cat"]),
        "no 2 to 255 different names",
    ),
    "a network without end": (
        lambda p: with_tensors(p, backbone={"options": {"layers": [10**6, 1, 1, 1]}}),
        r"model\.bin: what it says of its network has more than \d+ tensors, and the file has not",
    ),
    "a network of 200 GB": (
        lambda p: with_tensors(p, backbone={"options": {"stem_width": 100_000}}),
        r"model\.bin does not fit CAM: .* of another shape: ",
    ),
    "a network elsewhere": (
        lambda p: with_tensors(p, backbone={"name": "hf-hub:somebody/x"}),
        r"model\.bin: backbone 'hf-hub:somebody/x' is an address",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_that_cannot_be_used(case, stage, data, tmp_path):
    make, message = MODELS[case]
    model = make(tmp_path / "model.bin")
    arguments = ["--data", data, "--classifier", model, "--split", "train", "--file", tmp_path / "out" / "x.h5"]
    stage("infer_cam", tmp_path / "out", *arguments, config=INFER).assert_refused(message)


def torch_file(path, content):
    torch.save(content, path)
    return path


def state(change=lambda tensors: tensors):
    model = build_method(schema.TrainClassifier.model_validate(CLASSIFIER), class_names(2), weights=False)
    return change(dict(model.backbone.net.state_dict()))


WEIGHTS = {
    "code in a pickle": (lambda p: p.write_bytes(pickle.dumps({"a": Shell(p.parent)})), "no checkpoint of tensors"),
    "code in a torch file": (lambda p: torch_file(p, {"a": Shell(p.parent)}), "no checkpoint of tensors"),
    "text": (lambda p: p.write_text("<html>404</html>"), "is a web page instead of weights"),
    "truncated": (lambda p: cut(torch_file(p, state())), "no checkpoint of tensors"),
    "missing": (lambda p: None, "no checkpoint '"),
    "a list": (lambda p: torch_file(p, ["a"]), "holds a list; accepted is a mapping of names to tensors"),
    "another architecture": (
        lambda p: torch_file(p, {"conv1.w": torch.zeros(3)}),
        "does not fit|cannot build|[Mm]issing",
    ),
    "NaN": (lambda p: torch_file(p, state(nan)), "holds NaN or infinite values"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_checkpoints_that_cannot_be_used(case, stage, data, tmp_path):
    make, message = WEIGHTS[case]
    make(tmp_path / "weights.pth")
    config = CLASSIFIER | {"backbone": {"name": "test_resnet", "checkpoint": str(tmp_path / "weights.pth")}}
    refused = stage("train_classifier", tmp_path / "out", "--data", data, "--device", "cpu", config=config)
    refused.assert_refused(message)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"dataset": "folder", ', "--config: not YAML"),
        ('{"dataset": !!python/object/apply:os.system ["touch pwned"]}', "not YAML: line 1: could not determine"),
        ('{"dataset": "foldr"}', "--config: input tag 'foldr'"),
        ('{"dataset": "shapes", "trian": 3}', "--config.trian: unknown key; did you mean 'train'"),
        ('{"dataset": "voc", "on_bad_image": "ignore"}', "--config.on_bad_image: input should be 'stop' or 'skip'"),
    ],
)
def test_settings_that_cannot_be_used(config, message, stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage("prepare_data", tmp_path / "out", config=config).assert_refused(message)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/wsss-outside", "a/../../outside"])
def test_archives_stay_in_their_folder(name, tmp_path):
    source = tmp_path / "x"
    source.write_text("x")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(source, arcname=name)
    try:
        extract(tmp_path / "x.tar", tmp_path / "deep" / "into")
    except ValueError as error:
        assert "refused to unpack" in str(error) and not (tmp_path / "deep" / "into").exists()
    outside = [tmp_path / "outside", tmp_path / "deep" / "outside", tmp_path.parent / "outside"]
    assert not any(path.exists() for path in outside)


def test_a_link_in_an_archive_leads_nowhere(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(ValueError, match="refused to unpack"):
        extract(tmp_path / "x.tar", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_names_of_masks_do_not_leave_the_export(stage, tmp_path):
    with LabelWriter(tmp_path / "x.h5", class_names=["background"], palette=np.zeros((1, 3), np.uint8)) as out:
        out.add("../../x", np.zeros((4, 4), np.uint8))
    command = [sys.executable, "-m", "wsss.cli.labels", "export", tmp_path / "x.h5", "--out", tmp_path / "out"]
    refused = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert refused.returncode == 2 and not list(tmp_path.glob("*.png"))
