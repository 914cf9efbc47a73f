"""Output against input: every image its own target, nothing that is read is written over, and a second run alike."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path, PurePosixPath

import pytest
import torch

from small_data import picture
from wsss.cli.inputs import check_out, find_images
from wsss.cli.main import main
from wsss.config import run as schema
from wsss.runtime.files import write_atomically
from wsss.runtime.targets import refuse_sources, unique_places
from wsss.segmentation.build import build_segmentation
from wsss.store.models import save_model

SECTION = {
    "architecture": "DeepLabV3Plus",
    "options": {"decoder_channels": 16, "decoder_atrous_rates": [2, 4, 6]},
    "backbone": {"name": "test_resnet", "output_stride": 8, "pretrained": False},
}


def photographs(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(root / name)


def digest(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


SETS = {
    "suffixes": (["p/a.jpg", "p/a.png"], ["p"], {"a.jpg.png", "a.png.png"}),
    "suffix and mask of another": (["p/a.jpg", "p/a.bmp", "p/a.jpg.png"], ["p"], None),
    "two folders": (["p/x.jpg", "q/x.jpg"], ["p", "q"], {"p/x.png", "q/x.png"}),
    "two folders of one name": (["p/d/x.jpg", "q/d/x.jpg"], ["p/d", "q/d"], {"p/d/x.png", "q/d/x.png"}),
    "two files": (["p/x.jpg", "q/x.png"], ["p/x.jpg", "q/x.png"], None),
    "a folder called like a mask": (["p/a.jpg", "p/a.png/b.jpg"], ["p"], None),
    "case": (["p/a.jpg", "p/A.jpg"], ["p"], {"a.png", "A.png"}),
    "one image named twice": (["p/a.jpg"], ["p", "p/a.jpg", "./p/../p"], {"a.png"}),
    "a folder in a folder": (["p/q/a.jpg"], ["p", "p/q"], {"q/a.png"}),
}


@pytest.mark.parametrize("name", SETS)
def test_every_image_has_a_mask_of_its_own(tmp_path, monkeypatch, name):
    files, sources, masks = SETS[name]
    photographs(tmp_path, *files)
    monkeypatch.chdir(tmp_path)
    found = find_images(sources)
    assert len(found) == len(files) == len({str(mask) for mask in found.values()})
    assert not {parent for mask in found.values() for parent in mask.parents} & set(found.values())
    assert all(not mask.is_absolute() and ".." not in mask.parts for mask in found.values())
    if masks is not None:
        assert {mask.as_posix() for mask in found.values()} == masks


REFUSED = {
    "into the folder itself": (["p/a.jpg"], ["p"], "p", r"p: lies in p, which is read"),
    "into a folder below": (["p/a.jpg"], ["p"], "p/masks", r"p/masks: lies in p, which is read"),
    "through a link": (["p/a.jpg"], ["p"], "link/masks", r"link/masks: lies in p, which is read"),
    "over an image of a list": (["p/a.png"], ["list.txt"], ".", r"p/a\.png: would be written over p/a\.png"),
    "over an image that is named": (["p/a.png"], ["p/a.png"], "p", r"a\.png: would be written over p/a\.png"),
    "what a pattern finds again": (["p/a.png"], ["p/**/*.png"], "p/m", r"the pattern p/\*\*/\*\.png would find it"),
    "over another's photograph": (
        ["p/a.jpg", "q/a.png"],
        ["p"],
        "q",
        r"q/a\.png: already exists, and is not from",
    ),
    "over another's table": (["p/a.jpg", "q/classes.csv"], ["p"], "q", r"q/classes\.csv: not a table of predict"),
    "a file": (["p/a.jpg"], ["p"], "p/a.jpg", r"a\.jpg: not a folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_target_is_never_a_source(tmp_path, monkeypatch, name):
    files, sources, out, message = REFUSED[name]
    photographs(tmp_path, *(f for f in files if not f.endswith(".csv")))
    for table in (f for f in files if f.endswith(".csv")):
        (tmp_path / table).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / table).write_text("image,labels\na,cat\n")
    (tmp_path / "link").symlink_to("p", target_is_directory=True)
    (tmp_path / "list.txt").write_text("\n".join(files))
    monkeypatch.chdir(tmp_path)
    before = digest(tmp_path)
    with pytest.raises(ValueError, match=message):
        check_out(Path(out), find_images(sources), sources, overlay=True, softmax=True)
    assert digest(tmp_path) == before


def save_network(path, classes=("cat", "dog")):
    torch.manual_seed(0)
    settings = schema.TrainSegmentation.model_validate(SECTION)
    model = build_segmentation(settings, 1 + len(classes)).eval()
    save_model(model, path, "segmentation", settings.model_dump(mode="json"), ["background", *classes])


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_network(path)
    return path


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs `wsss` with arguments, in a folder of its own; exit status and what went to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("wsss"), "handlers", [])

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["wsss", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    return run


def test_twice_the_same_command_makes_the_same_masks_and_leaves_the_photographs(tmp_path, model_file, command, caplog):
    photographs(tmp_path, "photos/a.png", "photos/a.jpg", "more/a.jpg", f"more/{'n' * 251}.jpg")
    before = digest(tmp_path)
    arguments = ["photos", "more", "--model", model_file, "--device", "cpu"]
    results = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("INFO", "wsss"):
            code, said = command("predict", *arguments, "--out", "masks")
        assert code == 0 and "4 masks in masks" in caplog.text, said
        results.append(digest(tmp_path / "masks"))
    assert results[0] == results[1] and len([n for n in results[0] if n.endswith(".png")]) == 4
    code, said = command("predict", *arguments, "--out", "photos")
    assert code == 2 and said.count("\n") == 1 and "lies in photos" in said
    left = digest(tmp_path)
    assert {name: left[name] for name in before} == before


def test_masks_of_an_earlier_command_are_not_lost(tmp_path, model_file, command):
    photographs(tmp_path, "p/x.jpg", "p/y.jpg", "q/x.jpg")
    save_network(tmp_path / "other.safetensors", ["dog", "cat"])
    line = ["predict", "--device", "cpu", "--out", "m", "--model"]
    assert command(*line, model_file, "p")[0] == 0
    before = digest(tmp_path)
    table = (tmp_path / "m" / "images.csv").read_text()
    assert table == f"mask,image\nx.png,{tmp_path}/p/x.jpg\ny.png,{tmp_path}/p/y.jpg\n"
    for arguments, told in (
        ([model_file, "q"], f"m/x.png: is the mask of {tmp_path}/p/x.jpg; for that of q/x.jpg, choose another --out"),
        (["other.safetensors", "p"], "m: holds masks of other classes, cat, dog …; choose another --out"),
    ):
        code, said = command(*line, *arguments)
        assert code == 2 and told in said and said.count("\n") == 1 and digest(tmp_path) == before
    (tmp_path / "q" / "x.jpg").rename(tmp_path / "q" / "z.jpg")
    assert command(*line, model_file, "q")[0] == 0 and len(list((tmp_path / "m").glob("*.png"))) == 3


WRITERS = {
    "export over the model": ["export", "--model", "{model}", "--onnx", "{model}"],
    "export over a table": ["export", "--model", "{model}", "--onnx", "labels.csv"],
    "init over the labels": ["init", "photos", "--labels", "labels.yaml", "--config", "labels.yaml", "--force"],
    "init over an image": ["init", "photos", "--labels", "labels.csv", "--config", "photos/a.jpg", "--force"],
    "compare over a table": ["compare", "run", "--out", "run/miou.csv"],
    "compare over a run's page": ["compare", "run", "--out", "run/report.html"],
    "labels into a folder with files": ["labels", "export", "labels.csv", "--out", "photos"],
    "predict over the photographs": ["predict", "photos", "--model", "{model}", "--out", "photos"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_command_writes_over_its_input(tmp_path, model_file, command, name):
    photographs(tmp_path, "photos/a.jpg")
    for table in ("labels.csv", "labels.yaml", "run/miou.csv", "run/report.html"):
        (tmp_path / table).parent.mkdir(exist_ok=True)
        (tmp_path / table).write_text("image,labels\na,cat\n")
    before, weights = digest(tmp_path), model_file.read_bytes()
    code, said = command(*(part.format(model=model_file) for part in WRITERS[name]))
    assert code == 2 and len(said.splitlines()) == 1, said
    assert digest(tmp_path) == before and model_file.read_bytes() == weights


def test_places_run_out():
    with pytest.raises(ValueError, match="a and b would both be written to x"):
        unique_places({"a": [PurePosixPath("x")], "b": [PurePosixPath("x")]})


def test_hard_links_and_long_names_are_told(tmp_path):
    (tmp_path / "a").write_text("1")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="would be written over"):
        refuse_sources([tmp_path / "b"], [tmp_path / "a"])
    with pytest.raises(ValueError, match="longer than 255 bytes"):
        refuse_sources([tmp_path / ("ä" * 130)], [])


def test_names_at_the_limit_are_written(tmp_path):
    for letter in "ab":
        write_atomically(tmp_path / ("ä" * 125 + letter), letter)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["a", "b"]
