"""Proposals as runs, and their merging with labels and scores."""

from __future__ import annotations

import numpy as np
import pytest

from wsss.refine.proposals.fma import fma_merge, kept_levels, pooled
from wsss.refine.proposals.masks import Masks
from wsss.refine.proposals.sepl import sepl_merge


@pytest.fixture
def dense():
    masks = np.random.default_rng(0).random((6, 13, 17)) > 0.6
    masks[3] = False
    masks[4] = True
    return masks


def test_runs_are_the_masks(dense):
    masks = Masks.from_dense(dense)
    maps = np.random.default_rng(1).normal(size=(3, 13, 17))
    assert np.array_equal(masks.to_dense(), dense)
    assert np.array_equal(masks.areas, dense.sum((1, 2)))
    np.testing.assert_allclose(masks.sums(maps), np.einsum("shw,phw->sp", dense, maps), atol=1e-9)
    assert np.array_equal(masks.overlaps(), np.einsum("shw,thw->st", dense.astype(int), dense.astype(int)))


def test_later_masks_are_painted_over_earlier_ones(dense):
    order = np.array([4, 0, 3, 2, 1, 5])
    expected = np.zeros(dense.shape[1:], np.uint8)
    for index in order:
        expected[dense[index]] = index + 1
    assert np.array_equal(Masks.from_dense(dense).paint(np.arange(1, 7, dtype=np.uint8), order), expected)


def test_cocos_lengths_are_read_and_must_fill_the_image(dense):
    counts = []
    for mask in dense:
        flat = mask.T.reshape(-1)
        bounds = np.flatnonzero(np.diff(flat)) + 1
        lengths = np.diff([0, *bounds, flat.size])
        counts.append([0, *lengths] if flat[0] else list(lengths))
    assert np.array_equal(Masks.from_counts((13, 17), counts).to_dense(), dense)
    with pytest.raises(ValueError, match="mask 1"):
        Masks.from_counts((13, 17), [counts[0], [5]])


def test_the_order_of_proposals_does_not_matter_to_sepl(dense):
    label = np.random.default_rng(2).integers(0, 4, (13, 17)).astype(np.uint8)
    label[0] = 255
    one = sepl_merge(label, Masks.from_dense(dense[:4]))
    assert np.array_equal(one, sepl_merge(label, Masks.from_dense(dense[3::-1])))
    assert one.max() < 4


def test_without_proposals_sepl_keeps_the_classes_and_fma_has_background():
    label = np.array([[0, 1, 255], [2, 2, 1]], np.uint8)
    none = Masks.from_dense(np.zeros((0, 2, 3)))
    assert np.array_equal(sepl_merge(label, none), [[0, 1, 0], [2, 2, 1]])
    assert not fma_merge(np.ones((1, 2, 3)), np.array([3]), none).label.any()


def test_one_proposal_alone_is_background():
    masks = Masks.from_dense(np.ones((1, 2, 3)))
    assert not fma_merge(np.ones((1, 2, 3)), np.array([3]), masks).label.any()


def test_means_are_those_of_the_loop(dense):
    maps = np.random.default_rng(3).normal(size=(2, 13, 17)).astype(np.float32)
    means = pooled(maps, Masks.from_dense(dense), "mean")
    for s in (0, 1, 2, 4, 5):
        np.testing.assert_allclose(means[s], maps[:, dense[s]].mean(1), rtol=1e-4, atol=1e-6)


def test_a_part_inside_a_kept_whole_is_dropped():
    whole, part, beside = np.zeros((3, 4, 4))
    whole[:2], part[0, :2], beside[3] = 1, 1, 1
    masks = Masks.from_dense(np.stack([part, whole, beside]), [0, 2, 1])
    assert kept_levels(masks, 0.3).tolist() == [1, 2]
