"""`wsss init`: what it says about a folder, and the configuration it writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from wsss.cli.init import Request, prepare
from wsss.config.loading import load_execution, load_run
from wsss.plan.run import missing_inputs, plan_runs

FOLDER = {"dataset": "folder", "images": "photos", "labels": "labels.csv"}


@pytest.fixture
def own(tmp_path):
    (tmp_path / "photos").mkdir()
    names = ["cat dog", "cat dog", "cat", "bus cat dog", ""]
    for i, _ in enumerate(names):
        Image.new("RGB", (40 + i, 30)).save(tmp_path / "photos" / f"{i}.jpg")
    rows = "".join(f"{i},{text}\n" for i, text in enumerate(names))
    (tmp_path / "labels.csv").write_text(f"image,labels\n{rows}")
    return tmp_path


def init(own, *arguments):
    command = [sys.executable, "-m", "wsss.cli.init", "photos", "--labels", "labels.csv", *arguments]
    return subprocess.run(command, cwd=own, capture_output=True, text=True, check=False)


def test_it_looks_reports_and_writes_a_config_that_is_valid(own, monkeypatch):
    Image.new("RGB", (30, 30)).save(own / "photos" / "extra.png")
    done = init(own)
    assert done.returncode == 0, done.stderr
    for text in (
        "5 images with labels (.jpg), longest edge 40 to 44 px",
        "3 classes from labels.csv (names), 1.6 per image",
        "cat + dog: 3 images",
        "note: 1 image(s) have no row",
        "note: 1 image(s) have no label and count as background only, e.g. 4",
        "note: class 'bus' has 1 image(s)",
        "photos.yaml is ready. Next:\n  wsss run photos --labels labels.csv --name photos\n",
    ):
        assert text in done.stdout
    monkeypatch.chdir(own)
    config = yaml.safe_load((own / "photos.yaml").read_text())
    assert load_execution(config).shards == 2
    run = load_run("photos", config["runs"])
    assert run.choose_threshold.policy == "masks" and run.prepare_data.dataset == "folder"
    assert missing_inputs(plan_runs(config)["photos"]) is None
    assert "photos.yaml exists; choose another --name" in init(own).stderr
    assert init(own, "--force").returncode == 0


def test_weights_and_how_their_network_is_built_serve_both_trainings(own):
    save_file({"w": torch.zeros(1)}, own / "w.safetensors")
    done = init(own, "--weights", "w.safetensors", "--network-options", "pad_type=same")
    assert done.returncode == 0, done.stderr
    run = yaml.safe_load((own / "photos.yaml").read_text())["runs"]["photos"]
    for stage in ("compute_features", "train_classifier", "train_segmentation"):
        backbone = {"checkpoint": "w.safetensors", "weights": None, "options": {"pad_type": "same"}}
        assert run[stage]["backbone"] == backbone


def test_weights_are_downloaded_where_their_package_is_not_installed(own, monkeypatch):
    monkeypatch.chdir(own)
    for there in (True, False):
        monkeypatch.setattr("wsss.cli.draft.installed", lambda name, there=there: there)
        config = prepare(Request(Path("photos"), Path("labels.csv"), None, "photos", ["frozen"], None, [])).config
        run = load_run("photos", config["runs"])
        for section in (run.compute_features, run.train_classifier, run.train_segmentation):
            assert section.backbone.weights == ("package" if there else None)


def test_a_preset_that_knows_classes_by_words_gets_a_phrase_for_each(own):
    torch.save({"w": torch.zeros(1)}, own / "clip.pt")
    (own / "labels.csv").write_text("image,labels\n0,fire_truck\n1,bird\n2,sky\n3,bird\n4,\n")
    done = init(own, "--preset", "clip-es", "--weights", "clip.pt")
    assert done.returncode == 0, done.stderr
    runs = yaml.safe_load((own / "photos.yaml").read_text())["runs"]
    written = runs["photos"]["train_classifier"]["method"]
    assert written["prompts"] == {"bird": ["bird avian"], "fire_truck": ["fire truck"], "sky": ["sky"]}
    assert len(written["backgrounds"]) == 24 and "sky" not in written["backgrounds"]
    run = load_run("photos", runs)
    assert run.train_classifier.method.name == "clip" and run.train_classifier.method.prompts == written["prompts"]
    assert run.train_segmentation.backbone.checkpoint is None


def test_the_recipe_is_fitted_to_number_and_size_of_the_images(own):
    for path in (own / "photos").iterdir():
        Image.new("RGB", (640, 1280)).save(path)
    init(own, "--preset", "photos")
    run = yaml.safe_load((own / "photos.yaml").read_text())["runs"]["photos"]
    assert "scales: [0.62, 0.94, 1.25]" in (own / "photos.yaml").read_text()
    assert run["infer_cam"]["scales"] == [0.62, 0.94, 1.25]  # of 512 px, to which the images are shrunk
    assert run["make_pseudo_labels"]["crf"] == {"bilateral_sxy": 80}
    assert run["train_classifier"]["training"] == {"epochs": round(8 * 140**0.5)}
    init(own, "--force")
    run = load_run("photos", yaml.safe_load((own / "photos.yaml").read_text())["runs"])
    scale = run.refine_cam.scale
    stages = (run.compute_features, run.infer_cam, run.segment)
    assert all(scale in stage.scales for stage in stages) and scale == run.make_affinity_labels.scale
    assert scale < load_run("photos", {"photos": {"preset": "frozen", "prepare_data": FOLDER}}).refine_cam.scale
    init(own, "--preset", "irn", "deeplab", "--force")
    assert "training" not in str(yaml.safe_load((own / "photos.yaml").read_text()))


def test_other_images_are_other_data(own, monkeypatch):
    init(own)
    monkeypatch.chdir(own)
    config = yaml.safe_load((own / "photos.yaml").read_text())

    def key():
        return plan_runs(config)["photos"].steps[0].key

    first = key()
    assert first == key()
    (own / "labels.csv").write_text("image,labels\n0,cat\n1,cat dog\n")
    assert key() != first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choose_threshold": "oracle"}, "runs.photos.choose_threshold: oracle needs prepare_data.masks"),
        ({"upper_bound": True}, "runs.photos.upper_bound: true needs"),
        ({"prepare_data": {"images": "fotos"}}, "runs.photos.prepare_data.images: no folder 'fotos'"),
        ({"prepare_data": {"labels": "l.csv"}}, "runs.photos.prepare_data.labels: no file 'l.csv'"),
    ],
)
def test_what_a_run_lacks_is_one_line(own, monkeypatch, change, message):
    init(own)
    monkeypatch.chdir(own)
    config = yaml.safe_load((own / "photos.yaml").read_text())
    for section, values in change.items():
        run = config["runs"]["photos"]
        run[section] = run[section] | values if isinstance(values, dict) else values
    line = missing_inputs(plan_runs(config)["photos"])
    assert message in line and "\n" not in line


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda o: (o / "labels.csv").unlink(), [], "error: labels.csv: no such file"),
        (
            lambda o: (o / "labels.csv").write_text("image,labels\n9,cat\n"),
            [],
            "problem: labels.csv line 2: no image '9'",
        ),
        (lambda o: (o / "photos/0.jpg").write_bytes(b""), [], "problem: photos/0.jpg: empty file"),
        (lambda o: None, ["--preset", "photo"], "runs.photos.preset: no preset 'photo'; did you mean 'photos'"),
        (lambda o: None, ["--weights", "w.pth"], "error: --weights: no file 'w.pth'"),
        (lambda o: (o / "w.pth").touch(), ["--weights", "w.pth"], "error: --weights: 'w.pth' is empty"),
        (
            lambda o: (o / "w.safetensors").write_text("<!DOCTYPE html><p>log in"),
            ["--weights", "w.safetensors"],
            "error: --weights: 'w.safetensors' is a web page instead of weights",
        ),
        (
            lambda o: (o / "labels.pth").write_bytes((o / "labels.csv").read_bytes()),
            ["--weights", "labels.pth"],
            "error: --weights: 'labels.pth' is no checkpoint of tensors alone",
        ),
        (lambda o: None, ["--network-options", "same"], "error: --network-options 'same'; accepted: KEY=VALUE"),
        (lambda o: None, ["--network-options", "a=["], "error: --network-options 'a=[': line 1: while parsing"),
        (lambda o: None, ["--name", "a b"], "error: --name 'a b'; accepted"),
    ],
)
def test_problems_are_named_and_nothing_is_written(own, spoil, arguments, message):
    spoil(own)
    done = init(own, *arguments)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
    assert not list(own.glob("*.yaml"))


@pytest.mark.parametrize(
    ("masks", "message"),
    [("nowhere", "no such folder 'nowhere'"), ("empty", "no mask in 'empty' is named like an image, e.g. 0.png")],
)
def test_masks_that_are_not_there_are_told(own, masks, message):
    (own / "empty").mkdir()
    done = init(own, "--masks", masks)
    assert done.returncode == 2 and message in done.stderr and "is ready" not in done.stdout
    assert not (own / "photos.yaml").exists()
