"""COCO's run lengths against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from wsss.data.rle import filled_runs, run_lengths


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 211)])
def test_compressed_text_is_the_mask(size, share):
    mask = np.random.default_rng(0).random(size) < share
    text = coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    plain = run_lengths({"size": list(size), "counts": text})[1].tolist()
    for counts in (text, plain):
        own, lengths = run_lengths({"size": list(size), "counts": counts})
        assert own == size
        np.testing.assert_array_equal(filled_runs(own, lengths), mask)
