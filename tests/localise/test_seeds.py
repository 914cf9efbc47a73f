import numpy as np
import pytest
import torch

from wsss.localise.seeds import (
    background_first,
    band_labels,
    confident_labels,
    constant_background,
    ignore_outside,
    irn_confident_labels,
    power_background,
    present_scores,
    seed_labels,
)


def scores_of(seed, shape=(3, 11, 13)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def label_maps(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (2, 9, 10), dtype=torch.uint8, generator=g)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_labels_are_a_dense_argmax(alpha):
    scores, classes = scores_of(0), torch.tensor([2, 5, 20])
    dense = np.zeros((21, 11, 13), np.float32)
    dense[classes.numpy()] = scores.numpy()
    dense[0] = alpha
    labels = seed_labels(scores, alpha, classes)
    assert labels.dtype == torch.uint8
    np.testing.assert_array_equal(labels.numpy(), dense.argmax(0))
    np.testing.assert_array_equal(seed_labels(scores, constant_background(scores, alpha), classes), labels)
    stacked = background_first(scores, constant_background(scores, alpha)).argmax(0)
    np.testing.assert_array_equal(seed_labels(scores, alpha), stacked)


def test_ties_go_to_the_background_then_to_the_first_class():
    tie = torch.full((2, 1, 1), 0.5)
    assert seed_labels(tie, 0.5).item() == 0
    assert seed_labels(tie, 0.4).item() == 1
    assert seed_labels(torch.zeros(0, 3, 4), 0.0, torch.tensor([], dtype=torch.int64)).sum() == 0
    with pytest.raises(ValueError, match="2 score maps"):
        seed_labels(tie, 0.5, torch.tensor([1]))


def test_power_background_shrinks_with_alpha():
    scores = scores_of(1)
    torch.testing.assert_close(power_background(scores, 1), 1 - scores.amax(0))
    low, high = power_background(scores, 4), power_background(scores, 24)
    assert (high <= low).all() and high.min() >= 0 and low.max() <= 1
    assert (power_background(scores[:0], 4) == 1).all()
    assert ((seed_labels(scores, low) > 0) <= (seed_labels(scores, high) > 0)).all()


def test_confident_labels_by_cases():
    for low, high, want in [(2, 2, 2), (0, 3, 255), (0, 0, 0), (2, 0, 0)]:
        got = confident_labels(*(torch.full((1, 1), v, dtype=torch.uint8) for v in (low, high)))
        assert got.item() == want and got.dtype == torch.uint8
    for foreground, background, want in [(2, 2, 2), (0, 3, 255), (0, 0, 0), (2, 0, 2)]:
        got = irn_confident_labels(*(torch.full((1, 1), v, dtype=torch.uint8) for v in (foreground, background)))
        assert got.item() == want and got.dtype == torch.uint8


def test_agreeing_maps_are_wholly_confident():
    labels = label_maps(2)
    assert torch.equal(confident_labels(labels, labels), labels)
    assert torch.equal(irn_confident_labels(labels, labels), labels)


def test_band_lies_between_its_thresholds():
    scores = scores_of(3, (2, 4, 8, 9))
    labels, best = band_labels(scores, 0.5, 0.25, 0.7), scores.amax(1)
    assert torch.equal(labels == 0, best <= 0.25)
    assert torch.equal(labels == 255, (best > 0.25) & (best <= 0.7))
    assert torch.equal(labels[best > 0.7], seed_labels(scores, 0.5)[best > 0.7])


def test_absent_classes_never_win():
    present = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0]])
    labels = seed_labels(present_scores(scores_of(4, (2, 4, 8, 9)), present), 0.0)
    assert set(labels[0].unique().tolist()) <= {0, 1, 4} and (labels[1] == 0).all()


def test_outside_the_box_is_ignored():
    labels, boxes = label_maps(5), torch.tensor([[1, 4, 0, 10], [0, 9, 3, 3]])
    out = ignore_outside(labels, boxes)
    assert torch.equal(out[0, 1:4], labels[0, 1:4]) and (out[0, :1] == 255).all() and (out[0, 4:] == 255).all()
    assert (out[1] == 255).all() and out.dtype == torch.uint8
