"""Tiles cover an image once, and a local function does not notice them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsss.data.shrink import shrunk
from wsss.segmentation.tiling import enlarged_labels, tiled_probabilities, windows


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(21, 90), st.integers(0, 10))
def test_every_pixel_is_written_once(height, width, tile, margin):
    count = np.zeros((height, width), int)
    for read, write, inner in windows(height, width, tile, margin):
        count[write] += 1
        window = np.empty((height, width), bool)[read]
        assert max(window.shape) <= tile and window[inner].shape == count[write].shape
        assert all(r.start + i.start == w.start for r, w, i in zip(read, write, inner, strict=True))
    assert (count == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (40, 40), (41, 200), (97, 131)])
def test_what_looks_less_far_than_the_margin_is_the_same(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)

    def blurred(pixels):
        return ndimage.uniform_filter(pixels.astype(np.float64), (7, 7, 1), mode="nearest").transpose(2, 0, 1)

    whole, found = blurred(image), np.full((3, *size), np.nan)
    for place, part in tiled_probabilities(image, blurred, 40, 8):
        found[:, *place] = part
    np.testing.assert_allclose(found, whole)


def test_margins_need_room():
    with pytest.raises(ValueError, match="tile 16 leaves nothing between margins of 8 pixels; accepted: over 16"):
        list(windows(100, 100, 16, 8))


def test_enlarging_takes_the_highest_class():
    shares = np.zeros((3, 4, 4), np.float16)
    shares[1, :, 2:], shares[2, 2:, :2], shares[0] = 0.9, 0.8, 0.1
    label = enlarged_labels(shares, (40, 80))
    assert label.shape == (40, 80) and label.dtype == np.uint8
    assert (label[:, 50:] == 1).all() and (label[25:, :30] == 2).all() and (label[:15, :30] == 0).all()


@pytest.mark.parametrize(
    ("size", "edge", "expected"),
    [((300, 600), 200, (100, 200)), ((30, 600), 100, (16, 320)), ((3, 900), 30, (3, 900)), ((9, 9), None, (9, 9))],
)
def test_shrinking_keeps_the_shape_and_the_least_edge(size, edge, expected):
    assert shrunk(np.zeros((*size, 3), np.uint8), edge).shape == (*expected, 3)
