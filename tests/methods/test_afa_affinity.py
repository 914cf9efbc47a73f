"""AFA's affinity: window, labels, loss and propagation against brute force and closed forms."""

import itertools

import pytest
import torch

from wsss.methods.afa.affinity import AffinityHead, column_transition, present_softmax
from wsss.methods.attention_affinity import dense_pair_labels, dense_pair_loss, radius_mask
from wsss.refine.walk import dense_walk


@pytest.mark.parametrize("height, width, radius", [(3, 5, 1), (7, 4, 2), (5, 6, 0), (4, 3, 9)])
def test_radius_mask_equals_brute_force(height, width, radius):
    cells = list(itertools.product(range(height), range(width)))
    expected = [[abs(y - v) <= radius and abs(x - u) <= radius for v, u in cells] for y, x in cells]
    assert radius_mask(height, width, radius).tolist() == expected


def test_labels_equal_brute_force():
    labels = torch.randint(0, 3, (2, 12, 20), generator=torch.Generator().manual_seed(0))
    labels[:, 4:9, 8:13] = 255
    got = dense_pair_labels(labels, stride=4, radius=2)
    cells = list(itertools.product(range(3), range(5)))
    for b in range(2):
        for (i, (y, x)), (j, (v, u)) in itertools.product(enumerate(cells), repeat=2):
            one, other = int(labels[b, 4 * y, 4 * x]), int(labels[b, 4 * v, 4 * u])
            outside = abs(y - v) > 2 or abs(x - u) > 2
            expected = 255 if outside or 255 in (one, other) else int(one == other)
            assert got[b, i, j] == expected


def test_loss_is_zero_for_perfect_affinity_and_near_one_for_its_opposite():
    labels = torch.randint(0, 3, (2, 32, 48), generator=torch.Generator().manual_seed(1))
    targets = dense_pair_labels(labels, stride=4, radius=3)
    perfect = (targets == 1).float()
    assert dense_pair_loss(perfect, targets) == 0
    assert 0.99 < dense_pair_loss(1 - perfect, targets) < 1
    ignored = targets == 255
    changed = perfect.masked_fill(ignored, 0.3)
    assert dense_pair_loss(changed, targets) == 0
    assert dense_pair_loss(perfect, torch.full_like(targets, 255)) == 0


def test_propagation_of_a_constant_map():
    """A column of T sums to s/(s + ε), s its sum before: constants stay, but for that factor."""
    affinity = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(2))
    window = radius_mask(4, 5, 1)
    constant = torch.full((2, 3, 4, 5), 0.7)
    kept = dense_walk(constant.flatten(2), column_transition(affinity, window, epsilon=0), steps=3)
    torch.testing.assert_close(kept.view_as(constant), constant)
    sums = (affinity.square() * window).sum(1)
    expected = (0.7 * sums / (sums + 0.1)).view(2, 1, 4, 5).expand(2, 3, 4, 5)
    walked = dense_walk(constant.flatten(2), column_transition(affinity, window), steps=1)
    torch.testing.assert_close(walked.view_as(constant), expected)


def test_propagation_stays_within_the_window_and_leaves_its_input():
    affinity = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(3))
    before = affinity.clone()
    impulse = torch.zeros(1, 1, 4, 5)
    impulse[0, 0, 0, 0] = 1
    walked = dense_walk(impulse.flatten(2), column_transition(affinity, radius_mask(4, 5, 1)), steps=1)
    assert walked.view(4, 5).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert torch.equal(affinity, before)


def test_class_scores_ignore_absent_classes():
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(4))
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    scores = present_softmax(maps, labels, background=0.4)
    torch.testing.assert_close(scores.sum(1), torch.ones(2, 4, 5))
    assert scores[0, 2].abs().max() == 0
    assert (scores[1, 0] == 1).all()
    changed = maps.clone()
    changed[:, 1] = 9
    torch.testing.assert_close(present_softmax(changed, labels, background=0.4), scores)


def test_head_is_symmetric_and_symmetrises_before_or_after_its_projection_alike():
    torch.manual_seed(0)
    head = AffinityHead(6)
    blocks = [torch.randn(2, 2, 9, 9), torch.randn(2, 4, 9, 9)]
    affinity = head(blocks)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2))
    stacked = torch.cat(blocks, 1)
    published = torch.conv2d(stacked + stacked.transpose(2, 3), head.weight, head.bias).sigmoid().squeeze(1)
    torch.testing.assert_close(affinity, published)
