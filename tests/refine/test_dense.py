"""DenseCRF: both backends agree, on what the unary says, and on real-looking images."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from wsss.config.sections import CRF
from wsss.refine.crf.dense import (
    crf_label_group,
    crf_marginal_group,
    crf_score_group,
    resolve_backend,
)
from wsss.refine.crf.mean_field import mean_field


def crf(*values: float) -> CRF:
    names = ("gaussian_sxy", "gaussian_weight", "bilateral_sxy", "bilateral_srgb", "bilateral_weight", "steps")
    return CRF(**dict(zip(names, values, strict=True)))


CAM = crf(3, 3, 80, 13, 10, 10)
LABEL = crf(3, 3, 50, 5, 10, 10)
TEST = crf(3, 3, 64, 5, 4, 10)
INSTALLED = importlib.util.find_spec("pydensecrf") is not None
needs_pydensecrf = pytest.mark.skipif(not INSTALLED, reason="pydensecrf is not installed")
BACKENDS = ["torch", pytest.param("pydensecrf", marks=needs_pydensecrf)]


def on(params: CRF, backend: str) -> CRF:
    return params.model_copy(update={"backend": backend})


def marginals(image, scores, params, backend="auto"):
    return crf_marginal_group([image], [scores], on(params, backend))[0]


def scene(height=60, width=81, labels=3, seed=0):
    """A noisy image of a bright disc on a gradient, and blurred scores that roughly know where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 3) ** 2
    image = np.stack([60 + x, 90 + 0 * x, 40 + y], -1) + 80 * disc[..., None] + rng.normal(0, 8, (height, width, 3))
    scores = rng.random((labels, height, width)) * 0.5
    scores[1] += 0.4 * np.roll(disc, 4, 1)
    scores[0] += 0.4 * ~disc
    return image.clip(0, 255).astype(np.uint8), scores, disc


@needs_pydensecrf
@pytest.mark.parametrize("params", [CAM, LABEL, TEST])
def test_backends_agree(params):
    image, scores, _ = scene()
    ours = marginals(image, scores, params, "torch")
    theirs = marginals(image, scores, params, "pydensecrf")
    assert np.mean(ours.argmax(0) == theirs.argmax(0)) >= 0.999
    assert np.abs(ours - theirs).mean() < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_pairwise_weights_the_unary_is_returned(backend):
    image, scores, _ = scene()
    without = CAM.model_copy(update={"gaussian_weight": 0, "bilateral_weight": 0})
    unary_only = marginals(image, scores, without, backend)
    np.testing.assert_allclose(unary_only, scores / scores.sum(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_crf_moves_the_labels_to_the_edge(backend):
    image, scores, disc = scene(labels=2)
    np.testing.assert_allclose(marginals(image, scores, CAM, backend).sum(0), 1, rtol=1e-5)
    (labels,) = crf_score_group([image], [[0, 15]], [scores], on(CAM, backend))
    assert set(np.unique(labels)) <= {0, 15}
    assert np.mean((labels == 15) == disc) > np.mean((scores.argmax(0) == 1) == disc) + 0.04
    assert np.mean((labels == 15) == disc) > 0.97


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_of_labels_does_not_matter(backend):
    image, scores, _ = scene()
    shuffled = marginals(image, scores[[2, 0, 1]], CAM, backend)
    np.testing.assert_allclose(shuffled, marginals(image, scores, CAM, backend)[[2, 0, 1]], atol=1e-4)


def test_batch_equals_one_image_at_a_time():
    scenes = [scene(seed=seed) for seed in range(3)]
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image, _, _ in scenes])
    unary = torch.stack([-torch.from_numpy(scores).float().log() for _, scores, _ in scenes])
    batch = mean_field(images, unary, CAM)
    for i in range(3):
        torch.testing.assert_close(batch[i], mean_field(images[i : i + 1], unary[i : i + 1], CAM)[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_smooth_out_noise(backend):
    image, _, disc = scene()
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(disc.shape) < 0.2, ~disc, disc).astype(np.uint8)
    (refined,) = crf_label_group([image], [noisy], [2], on(LABEL, backend), 0.7)
    assert refined.dtype == np.uint8
    assert np.mean(refined == disc) > 0.98


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_single_label_stays(backend):
    image, _, disc = scene()
    assert not crf_label_group([image], [np.zeros(disc.shape, int)], [1], on(LABEL, backend), 0.7)[0].any()


def test_wrong_arguments_are_named():
    image, scores, disc = scene()
    with pytest.raises(ValueError, match="accepted: uint8"):
        marginals(image / 255, scores, CAM)
    with pytest.raises(ValueError, match=r"accepted for this image: \(L, 60, 81\)"):
        marginals(image, scores[:, 1:], CAM)
    with pytest.raises(ValueError, match=r"labels 0..1 given; accepted with 1 labels: 0..0"):
        crf_label_group([image], [disc.astype(int)], [1], CAM, 0.7)
    with pytest.raises(ValueError, match="between 0 and 1"):
        crf_label_group([image], [disc.astype(int)], [2], CAM, 1.0)


def test_auto_is_torch_off_the_cpu():
    assert resolve_backend("auto", "cuda") == resolve_backend("auto", torch.device("cuda", 1)) == "torch"
    assert resolve_backend("auto", torch.device("cpu")) == resolve_backend("auto")
    assert resolve_backend("auto") == ("pydensecrf" if INSTALLED else "torch")
    assert resolve_backend("pydensecrf", "cuda") == "pydensecrf"


def test_a_group_of_images_with_different_labels_gives_what_each_gives_alone():
    rng = np.random.default_rng(11)
    images = [rng.integers(0, 256, (12, 15, 3)).astype(np.uint8) for _ in range(3)]
    scores = [rng.random((count, 12, 15)) for count in (2, 4, 3)]
    classes = [[0, 7], [0, 2, 5, 9], [0, 1, 3]]
    params = on(crf(3, 3, 20, 13, 4, 5), "torch")
    together = crf_score_group(images, classes, scores, params)
    for image, ids, maps, label in zip(images, classes, scores, together, strict=True):
        (alone,) = crf_score_group([image], [ids], [maps], params)
        assert (label == alone).mean() > 0.99
