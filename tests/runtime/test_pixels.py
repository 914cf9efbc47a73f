"""Pixels come out as torchvision's, to the bit."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from wsss.runtime.pixels import normalise_, resize_marks, resize_pixels

SIZES = [((37, 53), (20, 81)), ((64, 64), (16, 200)), ((5, 9), (5, 3)), ((100, 71), (150, 107))]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("count", [None, 1, 3])
def test_images_are_resized_as_torchvision_does(before, after, count):
    generator = torch.Generator().manual_seed(0)
    shape = (*before, 3) if count is None else (count, *before, 3)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).movedim(-1, -3)
    assert torch.equal(resize_pixels(pixels, after), F.resize(pixels, list(after), antialias=True))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_labels_are_resized_as_torchvision_does(before, after):
    marks = torch.randint(0, 256, before, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    expected = F.resize(marks[None], list(after), F.InterpolationMode.NEAREST)[0]
    assert torch.equal(resize_marks(marks, after), expected)


def test_images_are_normalised_as_torchvision_does():
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(2))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    assert torch.equal(normalise_(images.clone(), mean, std), F.normalize(images, mean, std))
