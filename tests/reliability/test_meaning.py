"""Content against meaning: masks that are no masks of class ids, or of other classes than their image's labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from small_data import SIZE, make_folder, make_voc

MAKE = {"folder": (make_folder, "masks", "abcdef"), "voc": (make_voc, "SegmentationClass", "abc")}


def paint(folder, names, value):
    for name in names:
        mask = np.zeros(SIZE, np.uint8)
        mask[4:9] = value
        Image.fromarray(mask).save(folder / f"{name}.png")


@pytest.mark.parametrize("source", MAKE)
def test_masks_of_black_and_white_are_refused(stage, tmp_path, source):
    make, folder, names = MAKE[source]
    settings = make(tmp_path / "data")
    paint(tmp_path / "data" / folder, names, 255)
    refused = stage("prepare_data", tmp_path / "out", config=settings)
    refused.assert_refused(r"\.png: it and all other masks hold nothing but 0 and 255 .*; save objects as their class")


@pytest.mark.parametrize("source", MAKE)
def test_masks_without_their_images_classes_are_remarked(stage, tmp_path, source):
    make, folder, names = MAKE[source]
    settings = make(tmp_path / "data")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "show none of" not in done.text
    paint(tmp_path / "data" / folder, names[:2], 0)
    done = stage("prepare_data", tmp_path / "out2", config=settings)
    assert done.code == 0 and f"2 of {len(names)} masks show none of their image's classes, e.g. that of a" in done.text


def test_shallow_pixels_are_remarked(stage, tmp_path):
    settings = make_folder(tmp_path / "data")
    Image.fromarray(np.full(SIZE, 4000, np.uint16)).save(tmp_path / "data" / "photos" / "b.png")
    done = stage("prepare_data", tmp_path / "out", config=settings)
    assert done.code == 0 and "1 16-bit image(s) use fewer bits, e.g. b" in done.text
