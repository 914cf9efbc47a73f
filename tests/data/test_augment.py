"""Augmentation: image and label move together, padding is marked, draws repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.data.augment import Augment

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
    augment = Augment(64, MEAN, STD, **sizes)
    pixels, box, target = augment(image, generator(seed), label)
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
    augment = Augment(48, MEAN, STD, scale=(0.8, 1.2), colour_jitter=(0.3, 0.3, 0.3, 0.1))
    a, b, c = (augment(image, generator(s), label) for s in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], c[0])


def test_without_draws_the_image_is_only_normalised():
    image, _ = blocks()
    pixels, box, _ = Augment(80, MEAN, STD, flip=False)(image, generator(0))
    top, bottom, left, right = box.tolist()
    expected = (torch.from_numpy(image).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    torch.testing.assert_close(pixels[:, top:bottom, left:right], expected)
