import numpy as np
import pytest

from wsss.measure.iou import THRESHOLDS, ThresholdCurve, confusion, score

C = 6


def pair(seed, shape=(23, 31)):
    rng = np.random.default_rng(seed)
    ids = np.array([*range(C - 1), 255], np.uint8)  # class C − 1 appears nowhere
    truth = np.repeat(rng.choice(ids, (shape[0], 7)), 5, axis=1)[:, : shape[1]]
    return truth, np.where(rng.random(truth.shape) < 0.7, truth, rng.choice(ids, truth.shape)).astype(np.uint8)


def counted(truth, prediction):
    """Pixel by pixel."""
    table = np.zeros((C, C + 1), np.int64)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        if t != 255:
            table[t, min(int(p), C)] += 1
    return table


def cam(seed, shape=(23, 31), k=3):
    """Scores that often equal a threshold or one another."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(1, C))[:k]
    scores = (rng.integers(0, 101, (k, *shape)) / 100).astype(np.float32)
    up, down = rng.random(scores.shape) < 0.2, rng.random(scores.shape) < 0.2
    scores[up] = np.nextafter(scores[up], np.float32(2))
    scores[down] = np.nextafter(scores[down], np.float32(-2))
    return classes, scores


@pytest.mark.parametrize("seed", range(3))
def test_confusion_counts_every_pixel(seed):
    truth, prediction = pair(seed)
    np.testing.assert_array_equal(confusion(truth, prediction, C), counted(truth, prediction))
    np.testing.assert_array_equal(confusion(truth.astype(np.int64), prediction, C), counted(truth, prediction))


def test_confusion_of_a_split_is_the_sum():
    pairs = [pair(s) for s in range(4)]
    whole = confusion(np.stack([t for t, _ in pairs]), np.stack([p for _, p in pairs]), C)
    np.testing.assert_array_equal(whole, sum(confusion(t, p, C) for t, p in pairs))
    assert confusion(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8), C).sum() == 0


def test_strange_ids_are_refused():
    truth, prediction = pair(0)
    for t, p, message in [
        (np.full_like(truth, C), prediction, f"class id {C} in the truth"),
        (truth, np.full_like(truth, 200), "class id 200 in the prediction"),
        (truth.astype(int) - 1, prediction, "labels span"),
        (truth, prediction[1:], "differ in shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            confusion(t, p, C)


def test_scores_against_their_definitions():
    truth, prediction = pair(1)
    s = score(confusion(truth, prediction, C))
    known = truth != 255
    for c in range(C):
        t, p = (truth == c) & known, (prediction == c) & known
        union = (t | p).sum()
        assert s.iou[c] == pytest.approx((t & p).sum() / union if union else 0)
    tp = np.array([((truth == c) & (prediction == c)).sum() for c in range(1, C - 1)])
    fn = np.array([((truth == c) & (prediction != c)).sum() for c in range(1, C - 1)])
    fp = np.array([((truth != c) & known & (prediction == c)).sum() for c in range(1, C - 1)])
    assert s.m_fn == pytest.approx((fn / tp).mean()) and s.m_fp == pytest.approx((fp / tp).mean())
    assert s.pixel_accuracy == pytest.approx((truth == prediction)[known].mean())
    assert s.miou == pytest.approx(s.iou.sum() / C)


def test_absent_classes_and_ignored_predictions():
    truth, prediction = pair(2)
    matrix = confusion(truth, prediction, C)
    assert score(matrix).iou[C - 1] == 0 and np.isnan(score(matrix, absent="skip").iou[C - 1])
    assert score(matrix, absent="skip").miou == pytest.approx(score(matrix).miou * C / (C - 1))
    kept = confusion(np.where(prediction == 255, 255, truth), prediction, C)
    skipped = score(matrix, ignored_predictions="skip")
    np.testing.assert_allclose(skipped.iou, score(kept).iou)
    assert skipped.miou > score(matrix).miou
    with pytest.raises(ValueError, match="accepted are"):
        score(matrix, absent="drop")


def test_perfect_and_empty():
    truth, _ = pair(3)
    s = score(confusion(truth, truth, C), absent="skip")
    assert s.miou == s.pixel_accuracy == s.mean_accuracy == 1 and s.m_fn == s.m_fp == 0
    empty = score(np.zeros((C, C + 1), np.int64), absent="skip")
    assert np.isnan([empty.miou, empty.m_fn, empty.pixel_accuracy]).all()


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_curve_equals_one_argmax_per_threshold(k):
    curve, expected = ThresholdCurve(C), np.zeros((len(THRESHOLDS), C, C + 1), np.int64)
    for seed in range(3):
        truth = pair(seed)[0]
        classes, scores = cam(seed, truth.shape, k)
        curve.update(truth, classes, scores)
        dense = np.full((C, *truth.shape), -np.inf, np.float32)
        dense[classes] = scores
        for i, alpha in enumerate(THRESHOLDS):
            dense[0] = alpha
            expected[i] += counted(truth, dense.argmax(0))
    np.testing.assert_array_equal(curve.matrices(), expected)


def test_curves_of_shards_add_up():
    whole, parts = ThresholdCurve(C), [ThresholdCurve(C), ThresholdCurve(C)]
    for seed in range(4):
        truth, (classes, scores) = pair(seed)[0], cam(seed)
        whole.update(truth, classes, scores)
        parts[seed % 2].update(truth, classes, scores)
    np.testing.assert_array_equal((parts[0] + parts[1]).counts, whole.counts)
    with pytest.raises(ValueError, match=r"different ids of 1..5"):
        whole.update(truth, [1, 0, 2], scores)
