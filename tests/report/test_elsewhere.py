"""A run is read from any working directory, through links, and after its project was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic import make_run
from wsss.cli import compare
from wsss.data.dataset import Dataset, read_image, write_index


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project `p` with a run on its own photographs, and another one, `q`, with photographs of the same names."""
    home = tmp_path / "p"
    home.mkdir()
    monkeypatch.chdir(home)
    run = make_run(Path("results"), "tiny", train=3, val=2)
    data = (run / "prepare_data").resolve()
    shutil.move(data / "images", home / "photos")
    dataset = Dataset(data)
    names = dataset.class_names
    rows = [
        {
            "image_id": r.image_id,
            "image": f"photos/{i}.jpg",
            "mask": f"photos/{i}.png",
            "labels": ";".join(names[c] for c in r.classes),
            "split": r.split,
            "measured": "1",
        }
        for i, r in enumerate(dataset.records)
    ]
    write_index(Path("results/stages/prepare_data") / data.name, dataset.name, names, dataset.palette, rows)
    (tmp_path / "q" / "photos").mkdir(parents=True)
    for path in (home / "photos").iterdir():
        Image.new("L" if path.suffix == ".png" else "RGB", (64, 48)).save(tmp_path / "q" / "photos" / path.name)
    return home, run


def pictures(folder):
    return [read_image(record.image) for record in Dataset(folder).records]


@pytest.mark.parametrize("where", ["p", "p/photos", "q", ".", "q/photos"])
@pytest.mark.parametrize("link", ["results", "moved", "scratch"])
def test_photographs_are_those_of_the_run(project, tmp_path, monkeypatch, where, link):
    home, run = project
    expected = pictures(home / run / "prepare_data")
    if link == "moved":
        home = home.rename(tmp_path / "elsewhere")
        where = where.replace("p/", "elsewhere/") if where.startswith("p/") else where.replace("p", "elsewhere")
        where = "." if not (tmp_path / where).is_dir() else where
    elif link == "scratch":
        (home / "results").rename(tmp_path / "disk")
        (home / "results").symlink_to(tmp_path / "disk", target_is_directory=True)
    monkeypatch.chdir(tmp_path / where)
    found = pictures(home / run / "prepare_data")
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_table_holds_no_place_of_this_machine(project, tmp_path):
    home, run = project
    folder = home / run / "prepare_data"
    assert json.loads((folder / "dataset.json").read_text())["root"] == "../../../.."
    assert str(tmp_path) not in (folder / "index.csv").read_text() + (folder / "dataset.json").read_text()


def test_compare_from_another_project(project, tmp_path, monkeypatch):
    home, run = project
    pages = []
    for place, given in (("p", run), ("q", Path("../p") / run), ("q", home / run)):
        monkeypatch.chdir(tmp_path / place)
        monkeypatch.setattr("sys.argv", ["compare", str(given), "--out", str(tmp_path / "page.html")])
        compare.main()
        pages.append((tmp_path / "page.html").read_text())
    assert pages[0] == pages[1] == pages[2]
