"""Augmentation: image and label move together, padding is marked, draws repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.config.sections import Augmentation
from wsss.data.augment import Augment
from wsss.data.distort import RESIZE, shift_hsv

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks() -> tuple[np.ndarray, np.ndarray]:
    """A label of large blocks, and an image whose grey value is 20 × the label."""
    label = np.kron(np.arange(12).reshape(3, 4), np.ones((20, 20))).astype(np.uint8)
    return np.repeat(label[..., None] * 20, 3, axis=2), label


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sizes", [{"scale": (0.5, 1.7)}, {"longest_edge": (40, 120)}])
def test_label_moves_with_the_image(seed, sizes):
    image, label = blocks()
    augment = Augment(Augmentation(crop=64, **sizes), MEAN, STD)
    pixels, box, target, _ = augment(image, generator(seed), label)
    grey = (pixels * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]).mean(0) * 255 / 20
    top, bottom, left, right = box.tolist()
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    agree = (grey.round() == target)[inside].float().mean()
    assert agree > 0.85  # block borders are interpolated
    assert (target[~inside] == 255).all() and (target[inside] != 255).all()
    assert (pixels[:, ~inside] == 0).all()


def test_same_generator_same_sample():
    image, label = blocks()
    augment = Augment(Augmentation(crop=48, scale=[0.8, 1.2], colour_jitter=[0.3, 0.3, 0.3, 0.1]), MEAN, STD)
    a, b, c = (augment(image, generator(s), label) for s in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
    assert not torch.equal(a[0], c[0])


def test_without_draws_the_image_is_only_normalised():
    image, _ = blocks()
    pixels, box, *_ = Augment(Augmentation(crop=80, flip=False), MEAN, STD)(image, generator(0))
    top, bottom, left, right = box.tolist()
    expected = (torch.from_numpy(image).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    torch.testing.assert_close(pixels[:, top:bottom, left:right], expected)


TOCO = {
    "distort": {"flip": 0.5, "colour_jitter": [0.4, 0.4, 0.2, 0.1], "jitter_probability": 0.8, "grey": 0.2, "blur": 1},
    "views": {
        "view2": {"source": "image", "area": [0.4, 1], "flip": 0.5, "blur": 0.1, "solarise": 0.2},
        "local": {"flip": 0.5, "colour_jitter": [0.4, 0.4, 0.2, 0.1], "jitter_probability": 0.8, "grey": 0.2},
    },
}


def test_views_have_draws_of_their_own():
    image, _ = blocks()
    whole = Augmentation(crop=32, padding="black", scale=[0.5, 2], **TOCO)
    fewer = whole.model_copy(update={"views": {"local": whole.views["local"]}})
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, again, other = (Augment(whole, MEAN, STD)(image, generator(s)) for s in (1, 1, 2))
    alone = Augment(fewer, MEAN, STD)(image, generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: tuple(view.shape) for name, view in a.views.items()} == {"view2": (3, 32, 32), "local": (3, 32, 32)}
    assert torch.equal(a.pixels, again.pixels) and all(torch.equal(a.views[n], again.views[n]) for n in a.views)
    assert torch.equal(a.pixels, alone.pixels) and torch.equal(a.views["local"], alone.views["local"])
    assert not torch.equal(a.views["view2"], other.views["view2"])


def test_a_distortion_mirrors_box_and_label_with_the_crop():
    image, label = blocks()
    settings = {"crop": 100, "flip": False, "padding": "black"}
    plain = Augment(Augmentation(**settings), MEAN, STD)(image, generator(3), label)
    mirrored = Augment(Augmentation(**settings, distort={"flip": 1}), MEAN, STD)(image, generator(3), label)
    assert torch.equal(mirrored.pixels, plain.pixels.flip(-1)) and torch.equal(mirrored.target, plain.target.flip(-1))
    top, bottom, left, right = plain.box.tolist()
    assert mirrored.box.tolist() == [top, bottom, 100 - right, 100 - left]


def test_black_padding_is_black_before_the_normalisation():
    image, _ = blocks()
    pixels, (top, *_), *_ = Augment(Augmentation(crop=200, padding="black"), MEAN, STD)(image, generator(0))
    assert top > 0
    torch.testing.assert_close(pixels[:, 0, 0], -torch.tensor(MEAN) / torch.tensor(STD))


@pytest.mark.parametrize("resampling", RESIZE)
def test_resamplings_agree_where_an_image_grows_smoothly(resampling):
    ramp = torch.linspace(20, 200, 40).expand(3, 30, 40).to(torch.uint8)
    found = RESIZE[resampling](ramp, [60, 80])
    wanted = RESIZE["antialiased-bilinear"](ramp, [60, 80])
    assert found.dtype == torch.uint8 and (found.int() - wanted.int()).abs().max() <= 3


def test_hue_goes_round_and_grey_stays_grey():
    image, _ = blocks()
    shifted = shift_hsv(torch.from_numpy(image).permute(2, 0, 1), (0.5, 0.0, 0.0), generator(0))
    assert (shifted.int() - torch.from_numpy(image).permute(2, 0, 1).int()).abs().max() <= 1
    red = torch.tensor([200, 10, 10], dtype=torch.uint8)[:, None, None].expand(3, 4, 4)
    turned = shift_hsv(red, (0.5, 0.0, 0.0), generator(1))
    assert not torch.equal(turned, red) and abs(int(turned.max()) - 200) <= 1


def test_scores_are_cut_like_labels_with_zeros_outside():
    image, label = blocks()
    scores = np.stack([label, 255 - label])
    augment = Augment(Augmentation(crop=96), MEAN, STD)
    maps, marks = (augment(image, generator(5), given).target for given in (scores, label))
    assert torch.equal(maps[0], torch.where(marks == 255, 0, marks).to(torch.uint8))
    assert (maps[1][marks == 255] == 0).all()


def test_an_edge_in_whole_pixels_reaches_both_ends():
    augment = Augment(Augmentation(crop=32, longest_edge=[50, 52], whole_edges=True), MEAN, STD)
    draws = {max(augment._draw_size(torch.Size((60, 80)), generator(s))) for s in range(60)}
    assert draws == {50, 51, 52}
