"""Masks of new images: any size, any kind, past broken files; and the same network through ONNX."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from wsss.cli.export import check_target
from wsss.cli.inputs import find_images
from wsss.cli.prediction import adapted, load_model, predict
from wsss.config import run as schema
from wsss.segmentation.build import build_segmentation
from wsss.segmentation.load import load_segmentation
from wsss.segmentation.predictor import Predictor
from wsss.store.about import copy_described
from wsss.store.models import save_model

CLASSES = ["background", "cat", "dog"]
SECTION = {
    "architecture": "DeepLabV3Plus",
    "options": {"decoder_channels": 16, "decoder_atrous_rates": [2, 4, 6]},
    "backbone": {"name": "test_resnet", "output_stride": 8, "pretrained": False},
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    settings = schema.TrainSegmentation.model_validate(SECTION)
    model = build_segmentation(settings, len(CLASSES)).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, path, "segmentation", settings.model_dump(mode="json"), CLASSES)
    return path


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    sizes = {"a.jpg": (40, 56), "b.png": (40, 56), "sub/a.png": (130, 70), "tiny.png": (1, 1), "b.jpg": (3, 50)}
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    return folder


def predictor(model_file, **changes):
    settings = schema.Segment(scales=[1.0, 0.5], flip=True)
    arguments = {"settings": settings, "max_edge": None, "device": torch.device("cpu")} | changes
    return Predictor(load_segmentation(model_file), CLASSES, **arguments)


def test_three_lines_of_code(model_file, photos):
    model = load_segmentation(str(model_file))
    mask = model.predict(Image.open(photos / "a.jpg"))
    assert mask.shape == (40, 56) and mask.dtype == np.uint8 and mask.max() < len(model.class_names) == 3
    assert model.class_names == CLASSES


def test_predict_takes_what_a_person_calls_an_image(model_file, photos):
    model = load_segmentation(model_file)
    path = photos / "b.png"
    pixels = np.array(Image.open(path))
    pixels.setflags(write=False)
    expected = model.predict(pixels)
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for image in (path, str(path), Image.open(path), Image.fromarray(opaque), opaque):
        assert np.array_equal(model.predict(image), expected)
    grey = pixels[..., 0]
    for image in (grey, grey[..., None], Image.fromarray(grey), np.repeat(grey[..., None], 3, 2)):
        assert np.array_equal(model.predict(image), model.predict(grey))
    for wrong in (pixels.astype(np.float32), pixels[None], 3, Image.fromarray(grey.astype(np.float32))):
        with pytest.raises(ValueError, match="image"):
            model.predict(wrong)


def test_a_run_s_model_file_predicts_as_the_run_does(model_file, photos, tmp_path):
    plain, path = load_segmentation(model_file), photos / "b.png"
    with torch.no_grad():  # every class wins somewhere
        plain.net.segmentation_head[0].bias -= plain(torch.randn(1, 3, 64, 64)).mean((0, 2, 3))
    settings = schema.TrainSegmentation.model_validate(SECTION).model_dump(mode="json")
    save_model(plain, tmp_path / "plain.safetensors", "segmentation", settings, CLASSES)
    views = {"segment": {"scales": [2.0, 0.5, 1.0]}, "max_edge": 48}
    copy_described(tmp_path / "plain.safetensors", tmp_path / "of_run.safetensors", views=views)
    model, segment = load_segmentation(tmp_path / "of_run.safetensors"), schema.Segment(scales=[2.0, 0.5, 1.0])
    as_run = predictor(tmp_path / "plain.safetensors", settings=segment, max_edge=48)
    pixels = np.array(Image.open(path))
    assert np.array_equal(model.predict(path), as_run.batch([pixels])[0][0])
    assert np.array_equal(model.predict(path, fast=True), as_run.changed(fast=True).batch([pixels])[0][0])
    assert len({m.predict(path, fast=f).tobytes() for m in (model, plain) for f in (True, False)}) == 3
    for odd in ({"max_edge": "48"}, {"max_edge": -1}, {"segment": {"scales": "1"}}, {"segment": None}):
        copy_described(tmp_path / "plain.safetensors", tmp_path / "odd.safetensors", views=views | odd)
        with pytest.raises(ValueError, match=rf"odd\.safetensors: views\.{next(iter(odd))}"):
            load_model(tmp_path / "odd.safetensors", torch.device("cpu"), 512)


def test_fast_some_classes_and_the_crf(model_file):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    whole = predictor(model_file)
    quick = adapted(whole, fast=True, classes=["dog"], crf=True)
    assert (quick.settings.scales, quick.settings.flip) == ([1.0], False) and quick.settings.crf is not None
    label, shares = quick.batch([image], softmax=True)[0]
    assert set(np.unique(label)) <= {0, 2} and not shares[1].any()
    assert shares.astype(np.float32).sum(0) == pytest.approx(1, abs=5e-3)
    assert replace(quick, max_edge=30).batch([image])[0][0].shape == (40, 56)
    with pytest.raises(ValueError, match="no class 'dgo'; did you mean 'dog'"):
        adapted(whole, fast=False, classes=["dgo"], crf=False)


def test_masks_overlays_and_softmax(model_file, photos, tmp_path):
    out = tmp_path / "masks"
    images = find_images([str(photos)])
    assert predict(predictor(model_file), images, out, batch=2, overlay=True, softmax=True) == []
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
    assert names == ["a.png", "b.jpg.png", "b.png.png", "sub/a.png", "tiny.png"]
    for image, place in images.items():
        mask = np.array(Image.open(out / place))
        shares = np.load((out / place).with_suffix(".npz"))["softmax"]
        assert mask.shape == Image.open(image).size[::-1] == shares.shape[1:]
        assert shares.astype(np.float32).sum(0) == pytest.approx(1, abs=5e-3)
        assert (shares.argmax(0) == mask).mean() > 0.98
        assert (out / place).with_suffix(".overlay.jpg").is_file()
    with (out / "classes.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == CLASSES


def test_batches_change_nothing(model_file, photos, tmp_path):
    images = {photos / name: photos / name for name in ("a.jpg", "b.png")}
    pixels = [np.array(Image.open(path).convert("RGB")) for path in images]
    together = predictor(model_file).batch(pixels)
    alone = [predictor(model_file).batch([p])[0] for p in pixels]
    assert all((a[0] == b[0]).mean() > 0.999 for a, b in zip(together, alone, strict=True))


def test_large_images_are_tiled_or_shrunk_and_come_back_whole(model_file):
    image = np.random.default_rng(0).integers(0, 256, (264, 300, 3), np.uint8)
    for changes in ({"tile": 256}, {"max_edge": 64}, {"max_edge": 280, "tile": 256}):
        label, shares = predictor(model_file, **changes).batch([image], softmax=True)[0]
        assert label.shape == (264, 300) and shares.shape == (3, 264, 300)
        assert (shares.argmax(0) == label).mean() > 0.98
    label, shares = predictor(model_file, tile=256).batch([image])[0]
    assert label.shape == (264, 300) and shares is None


def test_a_broken_file_is_passed_over_and_listed(model_file, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "list.txt").write_text(f"{photos / 'a.jpg'}\n\n{photos / 'missing.jpg'}\n{photos / 'broken.jpg'}\n")
    command = [sys.executable, "-m", "wsss.cli.predict", "--model", str(model_file), "--out", "out", "--device", "cpu"]
    done = subprocess.run([*command, "list.txt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "2 of 3 images could not be read: out/failed.csv" in done.stderr
    assert len((tmp_path / "out" / "images.csv").read_text().splitlines()) == 2
    rows = (tmp_path / "out" / "failed.csv").read_text().splitlines()
    assert len(rows) == 3 and "missing.jpg" in rows[1] and len(list((tmp_path / "out").rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["nowhere"], "nowhere: no such folder, image, pattern or list"),
        (["*.xyz"], "no such folder, image, pattern"),
        (["empty"], "empty: no image in it"),
        (["empty.txt"], "no images listed"),
    ],
)
def test_sources_that_hold_nothing(tmp_path, monkeypatch, sources, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=message):
        find_images(sources)


def test_patterns_and_lists_keep_their_paths(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert find_images(["**/a.*"]).keys() == find_images(["a.jpg", "sub/a.png"]).keys()
    (photos / "list.txt").write_text("../photos/a.jpg\n")
    assert [p.as_posix() for p in find_images(["list.txt"]).values()] == ["photos/a.png"]


def test_onnx_agrees_at_three_sizes(model_file, tmp_path):
    from wsss.segmentation.onnx import SIZES, export_onnx

    found = export_onnx(model_file, tmp_path / "model.onnx")
    assert len(found) == len(SIZES) == 3
    assert all(f["difference"] < 1e-3 and f["agreement"] >= 0.999 for f in found)

    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["background", "cat", "dog"]'
    check_target(tmp_path / "model.onnx", model_file)  # may be replaced


def test_a_network_that_differs_is_not_exported(model_file, tmp_path, monkeypatch):
    from wsss.segmentation import onnx

    monkeypatch.setattr(onnx, "compare", lambda *_: {"difference": 0.5, "agreement": 0.9})
    with pytest.raises(ValueError, match=r"differs from PyTorch by 0\.5 in logits, 90\.00 % of labels agree"):
        onnx.export_onnx(model_file, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    "backbone",
    [
        {"name": "test_resnet", "output_stride": 8, "pretrained": False},
        {"name": "tf_efficientnet_lite0", "output_stride": 16, "weights": "package"},
    ],
)
def test_a_decoder_on_a_frozen_network_predicts_and_exports(tmp_path, photos, monkeypatch, backbone):
    from wsss.backbones import packages
    from wsss.segmentation.onnx import SIZES, export_onnx

    monkeypatch.setattr(packages, "find_spec", lambda _: None)  # a trained model asks for no package
    section = {
        "architecture": "FeatureDecoder",
        "options": {"width": 16},
        "stages": [-2, "final"],
        "backbone": backbone,
    }
    settings = schema.TrainSegmentation.model_validate(section)
    torch.manual_seed(0)
    model = build_segmentation(settings, len(CLASSES)).eval()
    file = tmp_path / "model.safetensors"
    save_model(model, file, "segmentation", settings.model_dump(mode="json"), CLASSES)
    loaded = load_segmentation(file)
    assert loaded.mean == model.mean and loaded.predict(photos / "b.png").shape == (40, 56)
    images = find_images([str(photos)])
    assert not predict(predictor(file), images, tmp_path / "out", batch=2, overlay=True, softmax=True)
    assert len(list((tmp_path / "out").rglob("*.overlay.jpg"))) == len(images)
    assert len(export_onnx(file, tmp_path / "model.onnx")) == len(SIZES)
