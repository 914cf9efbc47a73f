"""Random small data sets of odd but legal names, encodings and kinds of image: read as written, or refused whole."""

from __future__ import annotations

import codecs
import hashlib
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from small_data import SIZE, WRITE, picture, table_of
from wsss.cli.inputs import check_out, find_images
from wsss.config.registry import SOURCES
from wsss.data.dataset import Dataset
from wsss.data.prepare import prepare_data

ODD = st.sampled_from(
    ["a", "B", "7", " ", "\u00a0", "ä", "é", "'", '"', "{", "}", "-", "%", "%s", "$x", "#", "~", "[", "]", "*"]
)
NAMES = st.lists(ODD, min_size=1, max_size=5).map("".join)
"""Blanks at their ends count, and some are made of blanks alone."""
FORMS = st.sampled_from(["NFC", "NFD"])
ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "cp1252": lambda text: unicodedata.normalize("NFC", text).encode("cp1252"),
}
MODES = ("RGB", "L", "RGBA", "P", "I;16")


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder and what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def repaint(path: Path, mode: str, orientation: int) -> None:
    """An image in another mode, turned by its EXIF tag."""
    image = picture(1)
    image = Image.fromarray(np.full(SIZE, 40000, "<u2")) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif)


def check_data_set(source, names, form, encoding, mode, orientation):
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "data", Path(folder) / "out"
        names = [unicodedata.normalize(form, name) for name in names]

        def save(path, text):
            path.write_bytes(ENCODINGS[encoding](text) if path.suffix == ".csv" else text.encode())

        written = WRITE[source](root, ["Käfer", "dining table"], save, names)
        images = {path.stem: path for path in root.rglob("*.png")}
        repaint(images[names[0]], mode, orientation)
        before = digest(root)
        try:
            prepare_data(SOURCES[source].Settings(**written), out, 1)
        except ValueError as error:
            assert ("\n" not in str(error) and str(root) in str(error)) or "image id" in str(error), str(error)
            assert not {"index.csv", "dataset.json"} & {path.name for path in out.glob("*")}
        else:
            check_table(out, names, orientation)
        assert digest(root) == before
        check_targets(root, images)


def check_table(out, names, orientation):
    """The table says what was written."""
    found = {unicodedata.normalize("NFC", name): (split, classes) for name, split, classes in table_of(out)}
    expected = {}
    for number, name in enumerate(names):
        split = "val" if number == len(names) - 1 else "train"
        expected[unicodedata.normalize("NFC", name)] = (split, [["Käfer", "dining table"][number % 2]])
    assert found == expected
    first = unicodedata.normalize("NFC", names[0])
    sizes = {unicodedata.normalize("NFC", r.image_id.rpartition("/")[2]): r.size for r in Dataset(out).records}
    assert sizes[first] == (SIZE[::-1] if orientation >= 5 else SIZE)


def check_targets(root, images):
    """predict makes a mask of its own for every image, and of none its source."""
    found = find_images([str(root)])
    out = root.parent / "masks"
    check_out(out, found, [str(root)], overlay=True, softmax=True)
    targets = {out / mask for mask in found.values()}
    assert len(targets) == len(found) == len(images)
    assert not targets & set(found)


def data_sets(source):
    """Keyword arguments of `check_data_set`."""
    same = {"min_size": 4, "max_size": 4, "unique_by": lambda name: unicodedata.normalize("NFC", name).casefold()}
    return {
        "names": st.lists(NAMES, **same),
        "form": FORMS,
        "encoding": st.sampled_from(sorted(ENCODINGS)),
        "mode": st.sampled_from(MODES),
        "orientation": st.integers(1, 8),
    }


def run(source, examples):
    odd = settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    odd = settings(odd, suppress_health_check=list(HealthCheck))
    odd(given(**data_sets(source))(lambda **drawn: check_data_set(source, **drawn)))()


@pytest.mark.parametrize("source", WRITE)
def test_random_data_sets(source):
    run(source, 12)


@pytest.mark.slow
@pytest.mark.parametrize("source", WRITE)
def test_many_random_data_sets(source):
    run(source, 60)
