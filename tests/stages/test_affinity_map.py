"""The affinity map of a pixel, from the command line."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from small_data import SIZE, picture
from wsss.config import run as schema
from wsss.data.dataset import write_index
from wsss.methods.load import build_method
from wsss.stages import affinity_map
from wsss.store.models import save_model

CLASSES = ["background", "cat"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the stage on image `nested/a` with a classifier of a given method; returns the picture's path."""
    picture(0).save(tmp_path / "a.png")
    row = {"image_id": "nested/a", "image": "a.png", "mask": "", "labels": "cat", "split": "train", "measured": "0"}
    write_index(tmp_path, "data", CLASSES, np.zeros((2, 3), np.uint8), [row])

    def run(method, *arguments):
        section = {"method": method, "backbone": {"name": "test_resnet", "output_stride": 8, "pretrained": False}}
        settings = schema.TrainClassifier.model_validate(section)
        about = settings.model_dump(mode="json")
        save_model(build_method(settings, CLASSES), tmp_path / "m.safetensors", "classifier", about, CLASSES)
        files = ["--data", tmp_path, "--classifier", tmp_path / "m.safetensors", "--picture", tmp_path / "out.png"]
        monkeypatch.setattr(sys, "argv", ["affinity_map", *map(str, files), *arguments, "--device", "cpu"])
        affinity_map.main()
        return tmp_path / "out.png"

    return run


def pixel(row, column, image="nested/a"):
    return ["--image", image, "--row", str(row), "--column", str(column)]


def test_writes_a_picture_and_the_numbers(command):
    path = command({"name": "seam"}, *pixel(4, 20))
    values = np.load(path.with_suffix(".npy"))
    assert values.shape == SIZE and values.dtype == np.float32
    assert values.min() >= 0 and 0.99 < values.max() <= 1
    assert Image.open(path).size[0] > 2 * SIZE[1]


@pytest.mark.parametrize(
    ("method", "where", "message"),
    [
        ({"name": "seam"}, pixel(24, 0), "row 24, column 0: outside the image, which has 24 rows, 32 columns"),
        ({"name": "seam"}, pixel(0, 0, "b"), "no image 'b' in data"),
        ({"name": "seam", "pcm": False}, pixel(0, 0), "pcm: true"),
        ({"name": "cam"}, pixel(0, 0), "not a SEAM classifier"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(command, caplog, capsys, tmp_path, method, where, message):
    with pytest.raises(SystemExit) as stopped:
        command(method, *where)
    assert stopped.value.code == 2
    assert message in caplog.text + capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
