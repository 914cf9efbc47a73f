"""Published training runs: losses normalised over groups of images, labels of pooled scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.methods.shared import balanced_cross_entropy
from wsss.refine.affinitynet.labels import StoredScores, pooled_scores, stacked
from wsss.refine.affinitynet.network import pool_confident_labels
from wsss.runtime import distributed
from wsss.store.maps import ScoreMap
from wsss.store.writers import ScoreWriter


def test_groups_count_their_pixels_for_themselves():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 6, 6, generator=generator)
    labels = torch.randint(0, 3, (4, 6, 6), generator=generator)
    labels[0, 1:] = 255
    found = distributed.counted_by(2, balanced_cross_entropy, logits, labels)
    halves = [balanced_cross_entropy(logits[i : i + 2], labels[i : i + 2]) for i in (0, 2)]
    whole = distributed.counted_by(None, balanced_cross_entropy, logits, labels)
    torch.testing.assert_close(found, sum(halves) / 2)
    torch.testing.assert_close(whole, balanced_cross_entropy(logits, labels))
    assert not torch.isclose(found, whole)


def test_groups_that_do_not_divide_a_batch_are_refused():
    with pytest.raises(ValueError, match="counted_images 3 does not divide the 4 images"):
        distributed.counted_by(3, balanced_cross_entropy, torch.zeros(4, 2, 2, 2), torch.zeros(4, 2, 2))


def test_scores_become_labels_of_cells_after_the_crop(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.array([0, 2])
    low, high = (ScoreMap(classes, rng.random((2, 24, 32), np.float32)) for _ in range(2))
    low.scores[:, :8, :8] = high.scores[:, :8, :8] = 0
    both = stacked(low, high)
    with ScoreWriter(tmp_path / "a.h5", class_names=["background", "a", "b", "c"]) as out:
        out.add("x", *both)
    record = type("R", (), {"image_id": "x"})
    layers = StoredScores(tmp_path / "a.h5", ["background", "a", "b", "c"])(record)
    assert layers.shape == (8, 24, 32) and layers.dtype == np.uint8 and not layers[[1, 3, 5, 7]].any()
    found = pooled_scores(torch.from_numpy(layers[:, :16, :24]), 8)
    full = [torch.zeros(4, 16, 24) for _ in range(2)]
    for maps, given in zip(full, (low, high), strict=True):
        maps[classes] = torch.from_numpy(given.scores[:, :16, :24])
    assert torch.equal(found, pool_confident_labels(*full, 8).long()) and found[0, 0] == 255
