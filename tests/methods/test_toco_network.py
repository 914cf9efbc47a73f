"""ToCo: its losses against plain loops, its crops and labels, and a training step."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import gaussian_blur

from names import class_names
from wsss.backbones.vit import ViTBackbone
from wsss.data.batch import Batch
from wsss.localise.seeds import ignore_outside
from wsss.methods.shared import balanced_cross_entropy, labels_by_par
from wsss.methods.toco.losses import ctc_loss, ptc_loss, token_pairs
from wsss.methods.toco.network import ToCo
from wsss.methods.toco.settings import Settings
from wsss.methods.toco.views import _blur, corners_of, crop_candidates, cut, draw_ranks, second_view

K = 5
LABELS = torch.tensor([[1.0, 0, 0, 1, 0], [0, 1, 0, 0, 0]])
BOXES = torch.tensor([[0, 64, 0, 96], [4, 60, 8, 80]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tiny(**options) -> ToCo:
    starts = {"seg": 1, "energy": 1}
    options = {"crop_size": 32, "local_crops": 4, "starts": starts, "projection": (32, 16, 24)} | options
    return ToCo(ViTBackbone("test_vit"), class_names(K), Settings(name="toco", **options))


def batch(**extra) -> Batch:
    images = torch.randn(2, 3, 64, 96)
    padding = ignore_outside(torch.zeros(2, 64, 96), BOXES) != 0
    return Batch(images.masked_fill(padding[:, None], 0), LABELS, BOXES, extra)


def test_ptc_is_zero_up_to_its_count_plus_one_for_equal_same_label_and_orthogonal_other_tokens():
    labels = torch.randint(0, 4, (2, 5, 7))
    features = F.one_hot(labels, 6).movedim(-1, 1).double() * torch.rand(2, 1, 5, 7, dtype=torch.float64)
    pairs = token_pairs(labels)
    positives = int((pairs == 1).sum())
    assert ptc_loss(features, pairs).item() == pytest.approx(0.5 / (positives + 1), rel=1e-9)
    assert ptc_loss(features.roll(1, -1), pairs) > 0.2


def test_ptc_sees_neither_ignored_tokens_nor_the_sign_and_length_of_features():
    labels = torch.randint(0, 3, (2, 4, 4))
    labels[:, 1] = 255
    features = torch.randn(2, 8, 4, 4)
    changed = features * -torch.rand(2, 1, 4, 4).add(0.5)
    changed[:, :, 1] = torch.randn(2, 8, 4)
    torch.testing.assert_close(ptc_loss(features, token_pairs(labels)), ptc_loss(changed, token_pairs(labels)))


def test_ctc_is_the_loop_over_images_teacher_views_and_positives():
    student, teacher = torch.randn(6, 3, 8).double(), torch.randn(2, 3, 8).double()
    flags = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]]).double()
    total = 0.0
    for b in range(3):
        terms = 0.0
        for view in teacher[:, b]:
            e = torch.exp(student[:, b] @ view / 0.5)
            negative = e[flags[b] == 0].sum()
            terms += sum(-torch.log(p / (p + negative + 1e-4)) for p in e[flags[b] == 1])
            terms += -torch.log(1 / (1 + negative + 1e-4))
        total += terms / (2 * (flags[b].sum() + 1e-4))
    torch.testing.assert_close(ctc_loss(student, teacher, flags), total / 3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_ctc_and_its_gradient_are_finite_for_any_logits_and_flags(scale):
    student = (scale * torch.randn(4, 3, 8)).requires_grad_()
    flags = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]])
    loss = ctc_loss(student, torch.randn(2, 3, 8), flags)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_balanced_cross_entropy_is_finite_and_the_mean_of_the_terms_that_have_pixels():
    logits = torch.randn(2, 4, 3, 5, requires_grad=True)
    background, mixed = torch.zeros(2, 3, 5, dtype=torch.long), torch.randint(1, 4, (2, 3, 5))
    torch.testing.assert_close(balanced_cross_entropy(logits, background), F.cross_entropy(logits, background))
    torch.testing.assert_close(balanced_cross_entropy(logits, mixed), F.cross_entropy(logits, mixed))
    mixed[0] = 0  # as many pixels of each kind: the plain mean again
    torch.testing.assert_close(balanced_cross_entropy(logits, mixed), F.cross_entropy(logits, mixed))
    ignored = balanced_cross_entropy(logits, torch.full((2, 3, 5), 255))
    ignored.backward()
    assert ignored == 0 and (logits.grad == 0).all()


def test_crops_are_distinct_slices_whose_centres_are_not_certain_foreground():
    regions = torch.randint(0, 3, (3, 20, 31), dtype=torch.int16)
    regions[1] = 2  # nothing to mine: anywhere
    candidates = crop_candidates(regions, 7, 6)
    corners = corners_of(candidates, draw_ranks(candidates, 6))
    images = torch.randn(3, 2, 20, 31)
    crops = cut(images, corners, 7)
    for b in range(3):
        assert len({tuple(corner) for corner in corners[b].tolist()}) == 6
        for n, (top, left) in enumerate(corners[b].tolist()):
            assert torch.equal(crops[n, b], images[b, :, top : top + 7, left : left + 7])
            assert b == 1 or regions[b, top + 3, left + 3] < 2
    with pytest.raises(ValueError, match="crops of 25 pixels do not fit into 20 × 31"):
        crop_candidates(regions, 25, 6)


def test_the_second_view_keeps_padding_and_differs_between_images():
    images = torch.randn(1, 3, 16, 24).repeat(8, 1, 1, 1)
    images[..., :5] = images[..., -5:] = 0
    views = second_view(images, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert (views[..., :5] == 0).all() and (views[..., -5:] == 0).all()
    assert views.isfinite().all() and views.abs().max() <= 2 + 1e-5
    assert len(torch.unique(views.flatten(1), dim=0)) > 4


def test_blur_is_a_gaussian_of_its_own_width_for_each_image():
    images = torch.rand(3, 3, 30, 40)
    state = torch.get_rng_state()
    blurred = _blur(images)
    torch.set_rng_state(state)
    sigmas = 0.1 + 1.9 * torch.rand(3)
    for image, result, sigma in zip(images, blurred, sigmas.tolist(), strict=True):
        expected = gaussian_blur(image, [13, 13], [sigma, sigma])
        inner = (slice(None), slice(6, -6), slice(6, -6))
        torch.testing.assert_close(result[inner], expected[inner], rtol=1e-4, atol=1e-5)


def test_labels_do_not_depend_on_the_other_images_of_the_batch():
    images, cams = torch.rand(3, 3, 40, 50), torch.rand(3, K, 40, 50).square()
    labels = torch.tensor([[0.0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    boxes = torch.tensor([[0, 40, 0, 50], [3, 30, 5, 45], [0, 40, 0, 50]])
    together = labels_by_par(images, cams, labels, boxes, low=0.25, high=0.7)
    for b in range(3):
        one = slice(b, b + 1)
        alone = labels_by_par(images[one], cams[one], labels[one], boxes[one], low=0.25, high=0.7)
        assert torch.equal(alone[0], together[b])
    assert set(together[0].unique().tolist()) <= {0, 2, 4, 5, 255}
    assert (together[2] == 0).all()  # no class is present
    assert (together[1, :3] == 255).all() and (together[1, :, 45:] == 255).all()


def test_sure_cams_become_labels_and_doubtful_ones_are_ignored():
    images = torch.zeros(1, 3, 32, 48)
    images[..., 16:32] = 0.5
    images[..., 32:] = 1.0
    cams = torch.zeros(1, K, 32, 48)
    cams[:, 3, :, 16:32] = 0.5
    cams[:, 3, :, 32:] = 1.0
    labels = F.one_hot(torch.tensor([3]), K).float()
    boxes = torch.tensor([[0, 32, 0, 48]])
    result = labels_by_par(images, cams, labels, boxes, low=0.25, high=0.7)[0]
    assert (result[:, :14] == 0).all() and (result[:, 18:30] == 255).all() and (result[:, 34:] == 4).all()


@pytest.mark.parametrize("step", [0, 1])
def test_a_training_step_gives_every_trained_parameter_a_finite_gradient(step):
    model = tiny()
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(0.1)
    losses = model(batch(), step)
    assert list(losses) == ["cls", "cls_aux", "ptc", "ctc", "seg", "energy"]
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    moved = [(p - old).abs().max().item() for p, old in zip(model.teacher.parameters(), before, strict=True)]
    assert moved == pytest.approx([0.01] * len(moved), abs=1e-5)
    assert all(p.grad is None for p in model.teacher.parameters())
    decoder = max(p.grad.abs().max().item() for p in model.decoder.parameters())
    assert (decoder > 0) == (step >= 1)


def test_a_step_is_repeated_by_its_seed_and_uses_a_given_second_view():
    model, images = tiny(momentum=1.0), batch()

    def loss(item: Batch, seed: int) -> float:
        torch.manual_seed(seed)
        return model(item, 0)["ctc"].item()

    # Without mined foreground every crop is negative, so that the contrast is not trivially 0.
    with torch.no_grad():
        model.aux_classifier.weight.zero_()
    assert loss(images, 1) == loss(images, 1) != loss(images, 2)
    given = Batch(images.images, LABELS, BOXES, {"view2": torch.randn(2, 3, 64, 96)})
    assert loss(given, 1) != loss(images, 1)


def test_padding_is_ignored_by_the_token_contrast():
    labels = tiny()._token_labels(torch.full((2, K, 64, 96), 0.9), batch(), (4, 6))
    rows, columns = torch.arange(4) * 16 + 8, torch.arange(6) * 16 + 8
    inside = (rows < 60)[:, None] & ((columns >= 8) & (columns < 80))
    assert torch.equal(labels[1] != 255, inside) and (labels[0] != 255).all()


def test_maps_scores_and_decoding_share_the_tokens_grid():
    model, images = tiny().eval(), torch.randn(2, 3, 48, 80)
    assert model.activation_maps(images).shape == (2, K, 3, 5) and model.activation_maps(images).min() >= 0
    assert model.logits(images).shape == (2, K)
    assert model.segment_logits(images).shape == (2, K + 1, 3, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"affinity": 1.0}}, "Input should be 'cls'"),
        ({"low_threshold": 0.8}, "0.8 and 0.7; they must satisfy"),
    ],
)
def test_a_mistake_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_a_weight_of_zero_switches_a_term_off():
    losses = tiny(weights={"ptc": 0.0})(batch(), 0)
    assert losses["ptc"] == 0 and losses["cls"] > math.log(2) / 4


def test_a_step_in_half_precision_is_close_to_full_precision():
    model, item = tiny(), batch()
    torch.manual_seed(3)
    full = model(item, 1)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(item, 1)
    for name in ("cls", "cls_aux", "ptc", "seg"):
        assert half[name].item() == pytest.approx(full[name].item(), rel=0.1), name
    sum(half.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_terms_start_at_their_own_steps():
    model = tiny(starts={"seg": 1, "energy": 3, "ptc": 2, "ctc": 2})
    assert model.starts == {"cls": 0, "cls_aux": 0, "ptc": 2, "ctc": 2, "seg": 1, "energy": 3}
