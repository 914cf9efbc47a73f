"""Paths: absolute or relative, through links, from another directory, and of names as long as a file system takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_sources import CLASSES, accepted, expected
from test_targets import save_network

from small_data import SIZE, WRITE, picture, table_of, write_folder
from wsss.cli.inputs import find_images
from wsss.cli.labels import export
from wsss.config.registry import FORMATS
from wsss.data.dataset import Dataset, read_image
from wsss.data.files import files_below
from wsss.data.palette import voc_palette
from wsss.data.sources.voc.layout import Layout, Listed
from wsss.runtime.targets import NAME_BYTES, fitting
from wsss.store.writers import LabelWriter

CELLS = {
    "plain": "{name}.png",
    "without suffix": "{name}",
    "absolute": "{root}/data/photos/{name}.png",
    "absolute through a link": "{root}/link/photos/{name}.png",
    "from the folder's parent": "photos/{name}.png",
    "from the table's folder": "../data/photos/{name}.png",
    "from the working directory": "data/photos/{name}.png",
    "with a dot": "./{name}.png",
    "Windows": "photos\\{name}.PNG",
}


@pytest.mark.parametrize("folder", ["relative", "absolute", "linked", "with a slash"])
@pytest.mark.parametrize("cell", CELLS)
def test_rows_find_their_images(stage, tmp_path, monkeypatch, folder, cell):
    monkeypatch.chdir(tmp_path)
    settings = write_folder(tmp_path / "data", CLASSES)
    (tmp_path / "link").symlink_to("data", target_is_directory=True)
    table = tmp_path / "data" / "labels.csv"
    lines = table.read_text().splitlines()
    cells = [CELLS[cell].format(name=name, root=tmp_path) for name in "abcd"]
    rows = [f"{new},{line.partition(',')[2]}" for new, line in zip(cells, lines[1:], strict=True)]
    table.write_text("\n".join([lines[0], *rows]) + "\n")
    images = {"relative": "data/photos", "linked": "link/photos", "with a slash": "./data/photos/"}
    accepted(stage, settings | {"images": images.get(folder, settings["images"])}, tmp_path / "out")
    assert table_of(tmp_path / "out") == expected()


@pytest.mark.parametrize(
    "cell", ["/etc/passwd", "../x.png", "../labels.csv", "data/other/a.png", "a\0.png", "photos", ""]
)
def test_rows_of_other_files_are_refused(stage, tmp_path, monkeypatch, cell):
    monkeypatch.chdir(tmp_path)
    settings = write_folder(tmp_path / "data", CLASSES)
    table = tmp_path / "data" / "labels.csv"
    table.write_bytes(table.read_bytes().replace(b"\na,", f"\n{cell},".encode()))
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    refused.assert_refused("line 2: no image '.*' under|NUL bytes|line 2: the row names no image")


BLANKS = {
    "each as it is written": (["B", "B "], ["B", "B "], {"B": "cat", "B ": "dog"}),
    "with suffixes": (["B", "B "], ["B.png", "B .png"], {"B": "cat", "B ": "dog"}),
    "around a name that is there": (["B", "C"], ["  B ", "\u00a0C"], {"B": "cat", "C": "dog"}),
    "lost around a name": ([" B", "C"], ["B", "C"], {" B": "cat", "C": "dog"}),
    "one with blanks beside one without": (["B", " B"], [" B  ", " B"], {"B": "cat", " B": "dog"}),
    "of two, neither": (["B ", " B"], ["B", " B"], r"line 2: 'B' may be ' B.png' or 'B .png'; write the path"),
    "of none": (["B", "C"], ["   ", "C"], r"line 2: no image '   ' under"),
}


@pytest.mark.parametrize("case", BLANKS)
def test_blanks_around_a_name_count_where_they_tell_images_apart(stage, tmp_path, case):
    names, cells, found = BLANKS[case]
    settings = write_folder(tmp_path / "data", ["cat", "dog"], names=names)
    rows = [f"{cell},{split},{label}" for cell, split, label in zip(cells, ("train", "val"), "cd", strict=True)]
    text = "image,split,labels\n" + "\n".join(rows).replace(",c", ",cat").replace(",d", ",dog") + "\n"
    (tmp_path / "data" / "labels.csv").write_text(text)
    done = stage("prepare_data", tmp_path / "out", config=settings)
    if isinstance(found, str):
        done.assert_refused(found)
    else:
        assert done.code == 0, done.text
        assert {name: classes[0] for name, _, classes in table_of(tmp_path / "out")} == found


@pytest.mark.parametrize("source", WRITE)
def test_relative_settings_are_read_from_their_project(stage, tmp_path, monkeypatch, source):
    settings = WRITE[source](tmp_path / "p" / "data", CLASSES)
    settings |= {k: os.path.relpath(v, tmp_path / "p") for k, v in settings.items() if v.startswith("/")}
    monkeypatch.chdir(tmp_path / "p")
    out = Path("results/stages/prepare_data/key")
    accepted(stage, settings, out)
    before = [read_image(record.image) for record in Dataset(out).records]
    monkeypatch.chdir(tmp_path)
    after = [read_image(record.image) for record in Dataset("p" / out).records]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("suffix", [".png", ".jpeg"])
def test_names_as_long_as_they_may_be(stage, tmp_path, suffix):
    names = ["ä" * 125 + "a", "ä" * 125 + "b"]
    settings = write_folder(tmp_path / "data", CLASSES, names=["a", "b"])
    photos = tmp_path / "data" / "photos"
    for old, new in zip("ab", names, strict=True):
        (photos / f"{old}.png").unlink()
        name = new.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore")
        picture(1, (40, 90)).save(photos / f"{name}{suffix}")
        picture(1, (40, 90)).save(photos / f"{name}.tif")  # so that ids keep their suffixes
    rows = [f"{path.name},{'train' if i else 'val'},1,0" for i, path in enumerate(sorted(photos.iterdir()))]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["image,split,cat,dog", *rows]) + "\n")
    accepted(stage, settings | {"max_edge": 64}, tmp_path / "out")
    records = Dataset(tmp_path / "out").records
    assert len(records) == len({r.image for r in records}) == len(rows)
    assert all(read_image(r.image).shape[:2] == r.size == (28, 64) for r in records)


def test_a_long_place_is_cut_and_stays_unique():
    long = [fitting(Path("x", "ä" * 200 + end + ".png")) for end in "ab"]
    assert long[0] != long[1] and all(len(os.fsencode(path.name)) <= NAME_BYTES for path in long)
    assert all(path.suffix == ".png" and path.parent == Path("x") for path in long)
    assert fitting(Path("x", "a" * 251 + ".png")).name == "a" * 251 + ".png"


@pytest.mark.parametrize("form", FORMATS.modules)
def test_images_of_long_names_are_exported(tmp_path, form):
    ids = ["ä" * 125 + end for end in ("abcde", "abcdf")]
    with LabelWriter(tmp_path / "x.h5", class_names=("background", "cat"), palette=voc_palette()[:2]) as out:
        for number, image_id in enumerate(ids):
            out.add(image_id, np.full(SIZE, number, np.uint8))
    assert export(tmp_path / "x.h5", form, tmp_path / "out") == 2
    files = [path for path in (tmp_path / "out").rglob("*") if path.name.startswith("ä")]
    assert len(files) == (0 if form in ("coco", "cvat") else 2)


def test_links_are_followed_and_end(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "real" / folder).mkdir(parents=True)
        picture(1).save(tmp_path / "real" / folder / "x.png")
    (tmp_path / "real/a/to_b").symlink_to("../b", target_is_directory=True)
    (tmp_path / "real/b/to_a").symlink_to("../a", target_is_directory=True)
    (tmp_path / "real/self").symlink_to(".", target_is_directory=True)
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    (tmp_path / "real/gone.png").symlink_to("nowhere.png")
    names = [name for name, _ in files_below(tmp_path / "link")]
    assert names == ["gone.png", "a/x.png", "a/to_b/x.png", "b/x.png", "b/to_a/x.png"]


@pytest.mark.parametrize(
    "name", ["[a]*?.png", "{x}%s$(y).png", "a b.txt.png", "-rf.png", "ä" * 125 + ".png", "a;b|c.png"]
)
@pytest.mark.parametrize("way", ["folder", "file", "list", "linked"])
def test_predict_finds_images_of_odd_names(tmp_path, monkeypatch, name, way):
    monkeypatch.chdir(tmp_path)
    folder = Path("photos [1]*")
    folder.mkdir()
    picture(1).save(folder / name)
    Path("list.txt").write_bytes(f"\ufeff{folder / name}\r\n".encode("utf-16-le" if name.startswith("ä") else "utf-8"))
    Path("link").symlink_to(folder, target_is_directory=True)
    sources = {"folder": str(folder), "file": str(folder / name), "list": "list.txt", "linked": "link"}
    ((image, mask),) = find_images([sources[way]]).items()
    assert image.is_file() and mask.name == name


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with a photograph, beside a project with a finished run."""
    run = tmp_path / "p" / "results" / "tiny"
    for step, config in (
        ("segment", {"scales": [1.0]}),
        ("prepare_data", {"dataset": "folder", "max_edge": 64}),
        ("train_segmentation", {}),
    ):
        stage = run.parent / "stages" / step / "key"
        stage.mkdir(parents=True)
        (stage / "config.yaml").write_text(yaml.safe_dump(config))
        run.mkdir(exist_ok=True)
        (run / step).symlink_to(f"../stages/{step}/key", target_is_directory=True)
    save_network(run / "train_segmentation" / "model.safetensors")
    (tmp_path / "q").mkdir()
    picture(1).save(tmp_path / "q" / "a.jpg")
    monkeypatch.chdir(tmp_path / "q")


def test_predict_from_anywhere(elsewhere, monkeypatch):
    from wsss.cli import predict

    monkeypatch.setattr("sys.argv", ["predict", "a.jpg", "--run", "../p/results/tiny", "--out", "m", "--device", "cpu"])
    predict.main()
    assert Path("m/a.png").is_file()


@pytest.mark.slow
def test_export_from_anywhere(elsewhere, monkeypatch):
    from wsss.cli import export

    monkeypatch.setattr("sys.argv", ["export", "--run", "../p/results/tiny", "--onnx", "a.onnx"])
    export.main()
    assert Path("a.onnx").is_file()


def test_names_that_are_no_text_are_masked_or_listed(tmp_path, monkeypatch):
    from wsss.cli import predict

    save_network(tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    for name in (b"p/a\xff.png", b"p/n\nl.png"):
        picture(1).save("x.png")
        Path("x.png").rename(os.fsdecode(name))
    Path(os.fsdecode(b"p/b\xff.png")).write_bytes(b"junk")
    monkeypatch.setattr("sys.argv", ["predict", "p", "--model", "model.safetensors", "--out", "m", "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        predict.main()
    assert end.value.code not in (0, 2) and Path(os.fsdecode(b"m/a\xff.png")).is_file()
    assert b'p/b\\udcff.png,"p/b\\udcff.png: not a readable image ' in Path("m/failed.csv").read_bytes()


def test_lists_of_masks_stay_in_their_folder(tmp_path):
    picture(1).convert("L").save(tmp_path / "a.png")
    layout = Layout(tmp_path / "data")
    assert layout.mask(Listed("a", "/../a.png")) is None and layout.mask(Listed("a", "a.png")) is None
