"""`wsss masks` on what tools and people leave in a folder: read as meant, or refused in a line that names it."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from wsss.cli.main import main
from wsss.refine.proposals.store import MaskStore

SIZE = [5, 7]
SOUND = {"size": SIZE, "counts": [0, 10, 25]}


def masks(*segmentations, **more):
    return [{"segmentation": found} | more for found in segmentations]


def counts(given):
    return masks(SOUND | {"counts": given})


def size(given):
    return masks(SOUND | {"size": given})


REFUSED_JSON = {
    "fewer pixels": (counts([0, 10]), "mask 0: its run lengths cover 10 pixels, an image of 5 × 7 has 35"),
    "more pixels": (counts([0, 10, 99]), "cover 109 pixels"),
    "none": (counts([]), "cover 0 pixels"),
    "negative": (counts([10, -5, 30]), "counts are whole numbers from 0 on"),
    "fractions": (counts([0.5, 9.5, 25]), "counts are whole numbers"),
    "truth values": (counts([True, 34]), "counts are whole numbers"),
    "texts": (counts(["0", "35"]), "counts are whole numbers"),
    "one number": (counts(35), "counts are whole numbers"),
    "nested": (counts([[0, 35]]), "counts are whole numbers"),
    "immense": (counts([0, 10**30]), "counts are whole numbers"),
    "null": (counts(None), "counts are whole numbers"),
    "text that ends in a number": (counts("@"), "counts are whole numbers"),
    "text that is none": (counts("héllo 中"), "counts are whole numbers"),
    "text of a number without end": (counts("o" * 40 + "0"), "counts are whole numbers"),
    "empty text": (counts(""), "counts are whole numbers"),
    "text of another size": (counts("0a2"), "an image of 5 × 7 has 35"),
    "an immense image": (size([10**6, 10**6]), r"up to 178,956,970 pixels"),
    "three sides": (size([5, 7, 3]), r"the size \[5, 7, 3\]; accepted is \[height, width\]"),
    "negative sides": (size([-5, -7]), r"accepted is \[height, width\]"),
    "no sides": (size(None), r"accepted is \[height, width\]"),
    "two sizes": (masks(SOUND, {"size": [7, 5], "counts": [0, 35]}), "mask 1 is 7 × 5; its image is 5 × 7"),
    "outlines": (masks([[0, 0, 1, 1, 2, 0]]), "mask 0: its segmentation is no run lengths"),
    "nothing": ([None], "mask 0: its segmentation is no run lengths"),
    "another level": (masks(SOUND, level_idx=7), "mask 0: level_idx 7; accepted: 0 sub-part"),
    "no level": (masks(SOUND, level_idx="x"), "mask 0: level_idx 'x'; accepted"),
    "of two images": (masks(SOUND, image_id=1) + masks(SOUND, image_id=2), "holds masks of 2 images"),
    "no list": ({"masks": []}, "neither a list of masks nor an object"),
}


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """Makes the folder `in`, runs `wsss masks` on it, and returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()

    def run():
        monkeypatch.setattr("sys.argv", ["wsss", "masks", "in", "--out", "m.h5"])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


@pytest.mark.parametrize("name", REFUSED_JSON)
def test_wrong_run_lengths_are_one_line(name, convert, tmp_path):
    content, message = REFUSED_JSON[name]
    write(tmp_path / "in" / "a.json", content)
    code, _, said = convert()
    assert code == 2 and said.startswith("[masks] error: in/a.json: ") and len(said.splitlines()) == 1, said
    assert re.search(message, said), said
    assert not (tmp_path / "m.h5").exists()


ONE = (255 * np.eye(5, 7)).astype(np.uint8)
REFUSED_FOLDERS = {
    "a web page": (lambda d: write(d / "a.json", "<html>"), r"in/a\.json: not a JSON file of masks"),
    "an empty file": (lambda d: write(d / "a.json", ""), r"in/a\.json: not a JSON file of masks"),
    "deep lists": (lambda d: write(d / "a.json", "[" * 10**5), r"in/a\.json: not a JSON file of masks"),
    "no mask in any": (lambda d: write(d / "a.json", []), r"in: no masks in its 1 file"),
    "both kinds": (lambda d: (write(d / "a.json", masks(SOUND)), png(d / "a" / "0.png", ONE)), "'a' has masks in"),
    "a PNG of no image": (lambda d: (png(d / "b" / "0.png", ONE), png(d / "a.png", ONE)), "a.png: a PNG of no image"),
    "another size": (lambda d: [png(d / "b" / f"{i}.png", ONE[i:]) for i in (0, 1)], "1.png is 4 × 7; its image is 5"),
    "a map of ids": (
        lambda d: png(d / "b" / "0.png", np.arange(35, dtype=np.uint8).reshape(5, 7)),
        r"0\.png: holds 34 values beside 0, as of several masks",
    ),
    "a mask that is its opacity": (
        lambda d: png(d / "b" / "0.png", np.dstack([np.full((5, 7, 3), 255, np.uint8), ONE])),
        r"0\.png: has transparent pixels; accepted is a PNG for each mask",
    ),
    "text as PNG": (
        lambda d: write(d / "b" / "0.png", "x"),
        r"0\.png: not a readable mask in PNG .no mask but a text file",
    ),
    "a name that is no text": (
        lambda d: write(d / os.fsdecode(b"\xff.json"), masks(SOUND)),
        "holds control characters or bytes that are not UTF-8",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FOLDERS)
def test_folders_that_cannot_be_meant_are_one_line(name, convert, tmp_path):
    make, message = REFUSED_FOLDERS[name]
    make(tmp_path / "in")
    code, _, said = convert()
    assert code == 2 and said.startswith("[masks] error: ") and len(said.splitlines()) == 1, said
    assert re.search(message, said), said
    assert not (tmp_path / "m.h5").exists()


LEFT_BY_TOOLS = {
    "metadata of amg": lambda d: write(d / "metadata.csv", "id,area"),
    "a preview of Windows": lambda d: write(d / "Thumbs.db", "x"),
    "files of macOS": lambda d: (write(d / "._0.png", "x"), write(d.parent / "__MACOSX" / "b" / "x.png", "x")),
    "checkpoints of Jupyter": lambda d: write(d.parent / ".ipynb_checkpoints" / "c.json", "x"),
    "a folder named as a PNG": lambda d: (d / "x.png").mkdir(),
}


@pytest.mark.parametrize("name", LEFT_BY_TOOLS)
def test_what_tools_leave_beside_masks_is_passed_over(name, convert, tmp_path):
    png(tmp_path / "in" / "b" / "0.png", ONE)
    LEFT_BY_TOOLS[name](tmp_path / "in" / "b")
    assert convert()[:2] == (0, "m.h5: 1 masks of 1 images\n")


SAVED_AS = {
    "grey": ONE,
    "truth": ONE > 0,
    "colours": np.repeat(ONE[..., None], 3, 2),
    "colours, opaque": np.concatenate([np.repeat(ONE[..., None], 3, 2), np.full((5, 7, 1), 255, np.uint8)], 2),
    "16 bits": ONE.astype(np.uint16) * 4,
}


@pytest.mark.parametrize("name", SAVED_AS)
def test_masks_in_png_of_every_kind_are_the_same(name, convert, tmp_path):
    png(tmp_path / "in" / "b" / "0.PNG", SAVED_AS[name])
    assert convert()[0] == 0
    with MaskStore(tmp_path / "m.h5") as store:
        np.testing.assert_array_equal(store.get("b", (5, 7)).to_dense()[0], ONE > 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_images_without_masks_are_named_and_left_out(encoding, convert, tmp_path):
    (tmp_path / "in" / "a.JSON").write_bytes(json.dumps(masks(SOUND, SOUND)).encode(encoding))
    for image in "bcdefgh":
        write(tmp_path / "in" / f"{image}.json", [])
    code, out, said = convert()
    assert (code, out) == (0, "m.h5: 2 masks of 1 images\n")
    assert said == "[masks] 7 image(s) without masks keep their labels: b, c, d, e, f …\n"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"c": (5, 7)}, "masks of 2 images, none of which is an image of the run: its ids are such as 'a', of .* 'c'"),
        ({"a": (5, 7), "b": (5, 8)}, "masks of image 'b' are 5 × 7; the image is 5 × 8"),
    ],
)
def test_masks_of_other_images_are_told(sizes, message, convert, tmp_path):
    for image in "ab":
        write(tmp_path / "in" / f"{image}.json", masks(SOUND))
    convert()
    with MaskStore(tmp_path / "m.h5") as store:
        store.require({"a": (5, 7), "c": (9, 9)})
        with pytest.raises(ValueError, match=message):
            store.require(sizes)
