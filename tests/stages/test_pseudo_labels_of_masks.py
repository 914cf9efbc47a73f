"""make_pseudo_labels with mask proposals: shards, images without any, masks of another size."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from wsss.config.stages import MakePseudoLabels
from wsss.data.dataset import Dataset, write_index
from wsss.data.palette import voc_palette
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.store import write_masks
from wsss.stages.make_pseudo_labels import make_pseudo_labels
from wsss.stages.shards import Shard
from wsss.store.maps import open_labels
from wsss.store.merging import merge
from wsss.store.writers import ScoreWriter

NAMES = ["background", "cat", "dog"]
SIZES = [(20, 24), (16, 20), (20, 24), (24, 20), (16, 20)]


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i, (height, width) in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(tmp_path / f"{i}.png")
        row = {"image_id": str(i), "image": str(tmp_path / f"{i}.png"), "mask": "", "labels": "cat;dog"}
        rows.append(row | {"split": "train", "measured": "0"})
    write_index(tmp_path, "folder", NAMES, voc_palette(), rows)
    found = Dataset(tmp_path)
    with ScoreWriter(tmp_path / "scores.h5", class_names=NAMES) as store:
        for record in found.split("train"):
            store.add(record.image_id, record.classes, rng.random((2, *record.size)))
    masks = [(str(i), Masks.from_dense(rng.random((4, *size)) > 0.6)) for i, size in enumerate(SIZES[:4])]
    write_masks(tmp_path / "masks.h5", masks)
    return found


def run(dataset, settings, shards):
    parts = [dataset.folder / f"{i}-of-{shards}.h5" for i in range(shards)]
    settings = MakePseudoLabels(crf=None, **settings)
    for i, part in enumerate(parts):
        shard, device = Shard("train", i, shards), torch.device("cpu")
        chosen = {"threshold": 0.3, "source": "set"}
        make_pseudo_labels(settings, chosen, dataset, dataset.folder / "scores.h5", part, shard=shard, device=device)
    merge(parts, dataset.folder / "all.h5", [r.image_id for r in dataset.split("train")])
    return (dataset.folder / "all.h5").read_bytes()


@pytest.mark.parametrize("rule", ["sepl", "fma"])
def test_shards_change_nothing_and_images_without_masks_keep_their_labels(dataset, rule, caplog):
    plain = run(dataset, {}, 1)
    with open_labels(dataset.folder / "all.h5") as store:
        last = store["4"]
    masks = {"masks": {"file": str(dataset.folder / "masks.h5"), "merge": rule}}
    with caplog.at_level(logging.WARNING, "wsss"):
        merged = run(dataset, masks, 1)
    assert "no masks of 1 image(s), which keep their labels" in caplog.text
    with open_labels(dataset.folder / "all.h5") as store:
        np.testing.assert_array_equal(store["4"], last)
    assert merged == run(dataset, masks, 3) != plain


def test_masks_of_another_size_are_one_line(dataset):
    write_masks(dataset.folder / "masks.h5", [("0", Masks.from_dense(np.ones((1, 10, 10))))])
    with pytest.raises(ValueError, match="masks of image '0' are 10 × 10; the image is 20 × 24"):
        run(dataset, {"masks": {"file": str(dataset.folder / "masks.h5")}}, 1)
