"""`wsss masks`: folders to one file, read back, and merged with labels by the stage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from wsss.cli.masks import collect
from wsss.config.sections import Proposals
from wsss.config.stages import MakePseudoLabels
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.merge import merged
from wsss.refine.proposals.store import MaskStore, write_masks
from wsss.store.maps import ScoreMap

SIZE = (5, 7)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sam"
    (folder / "sub" / "b").mkdir(parents=True)
    items = [{"segmentation": {"size": list(SIZE), "counts": [0, 10, 25]}, "level_idx": 2}]
    items.append({"segmentation": {"size": list(SIZE), "counts": [12, 3, 5, 15]}})
    (folder / "a.json").write_text(json.dumps(items))
    half = np.zeros(SIZE, np.uint8)
    half[:, 3:] = 255
    Image.fromarray(half).save(folder / "sub" / "b" / "0.png")
    return folder


def test_masks_come_back_from_the_file(folder, tmp_path):
    assert collect(folder, tmp_path / "m.h5") == (2, 3)
    with MaskStore(tmp_path / "m.h5") as store:
        a, b = store.get("a", SIZE), store.get("sub/b", SIZE)
        assert store.get("c", SIZE) is None
        with pytest.raises(ValueError, match="masks of image 'a' are 5 × 7; the image is 7 × 5"):
            store.get("a", (7, 5))
    assert a.level.tolist() == [2, 0]
    assert a.areas.tolist() == [10, 18]
    assert b.to_dense()[0].sum() == 20


def test_equal_masks_give_equal_bytes_and_images_may_have_none(tmp_path):
    rng = np.random.default_rng(0)
    images = [(str(i), Masks.from_dense(rng.random((i, *SIZE)) > 0.5)) for i in (3, 0, 2)]
    for name in ("x.h5", "y.h5"):
        write_masks(tmp_path / name, images)
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()
    with MaskStore(tmp_path / "x.h5") as store:
        for image_id, masks in images:
            np.testing.assert_array_equal(store.get(image_id, SIZE).to_dense(), masks.to_dense())


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_nothing_to_read_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no such folder|neither JSON"):
        collect(tmp_path / name, tmp_path / "m.h5")


def test_masks_of_two_sizes_in_one_image_are_refused(folder, tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "sub" / "b" / "1.png")
    with pytest.raises(ValueError, match=r"1.png is 4 × 4; its image is 5 × 7"):
        collect(folder, tmp_path / "m.h5")


def test_merges_and_images_without_masks():
    label = np.zeros(SIZE, np.uint8)
    label[1:4, 3:6] = 2
    half = np.zeros((1, *SIZE), bool)
    half[0, 1:, 3:6] = True
    scores = ScoreMap(np.array([0, 2]), np.stack([label == 0, label == 2]).astype(np.float32))
    masks = Masks.from_dense(np.concatenate([half, ~half]))
    for rule in ("sepl", "fma"):
        settings = Proposals(file="m.h5", merge=rule)
        np.testing.assert_array_equal(merged(label, scores, masks, settings), 2 * half[0])
        assert merged(label, scores, None, settings) is label


def test_parts_within_wholes_are_left_out_if_wished():
    whole, part = np.zeros((2, *SIZE), bool)
    whole[:, :3], part[2, :3] = True, True
    masks, label = Masks.from_dense(np.stack([part, whole]), [1, 2]), part.astype(np.uint8)
    scores = ScoreMap(np.array([1]), part[None].astype(np.float32))
    for share, expected in ((None, part), (0.3, np.zeros(SIZE))):
        settings = Proposals(file="m.h5", rule="imp", largest_cover=share)
        np.testing.assert_array_equal(merged(label, scores, masks, settings), expected)


def test_fma_takes_scores_not_labels():
    with pytest.raises(ValueError, match="set crf, par and confidence to null"):
        MakePseudoLabels(masks={"file": "m.h5", "merge": "fma"})
    MakePseudoLabels(masks={"file": "m.h5", "merge": "fma"}, crf=None)
    assert "masks" not in MakePseudoLabels().model_dump()
