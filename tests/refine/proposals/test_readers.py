"""The three formats hold the same masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from wsss.refine.proposals.readers import read_proposals


def test_every_format_gives_the_masks_and_another_size_is_refused(tmp_path):
    dense = np.random.default_rng(0).random((4, 9, 14)) > 0.5
    (tmp_path / "png").mkdir()
    compressed, plain = [], []
    for i, mask in enumerate(dense):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "png" / f"{i}.png")
        runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        compressed.append({"segmentation": {"size": [9, 14], "counts": runs["counts"].decode()}, "level_idx": i % 3})
        flat = mask.T.reshape(-1)
        lengths = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
        plain.append({"segmentation": {"size": [9, 14], "counts": [0, *lengths] if flat[0] else lengths}})
    (tmp_path / "amg.json").write_text(json.dumps(compressed))
    (tmp_path / "coco.json").write_text(json.dumps({"annotations": plain}))
    for name in ("png", "amg.json", "coco.json"):
        assert np.array_equal(read_proposals(tmp_path / name, (9, 14)).to_dense(), dense), name
        with pytest.raises(ValueError, match="its image is 9 × 15"):
            read_proposals(tmp_path / name, (9, 15))
    assert read_proposals(tmp_path / "amg.json", (9, 14)).level.tolist() == [0, 1, 2, 0]


def test_what_is_no_file_of_masks_is_one_message(tmp_path):
    (tmp_path / "a.json").write_text('{"masks": 3}')
    (tmp_path / "b.json").write_text('[{"bbox": [1, 2, 3, 4]}]')
    (tmp_path / "c").mkdir()
    for name, message in (("a.json", "neither a list"), ("b.json", "mask 0: its segmentation"), ("c", "no PNG")):
        with pytest.raises(ValueError, match=message):
            read_proposals(tmp_path / name, (9, 14))
    with pytest.raises(FileNotFoundError, match=r"d\.json"):
        read_proposals(tmp_path / "d.json", (9, 14))
