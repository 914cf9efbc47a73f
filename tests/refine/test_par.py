"""PAR and PAMR: what they conserve, and an independent float64 version that gathers neighbours by index."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.config.sections import PAR
from wsss.refine.par import pamr, par
from wsss.refine.pseudo_labels import refine_by_par

DILATIONS = (1, 2, 5)


@pytest.fixture
def images():
    return torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture
def masks():
    return torch.rand(2, 4, 17, 23, generator=torch.Generator().manual_seed(1))


def gathered(maps, dilations):
    """Neighbours (B, C, n, H, W) by clamped index arithmetic."""
    height, width = maps.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    steps = [(d * a, d * b) for d in dilations for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
    return torch.stack([maps[..., (y + a).clamp(0, height - 1), (x + b).clamp(0, width - 1)] for a, b in steps], dim=2)


def test_par_equals_gathered_float64_reference(images, masks):
    near = gathered(images.double(), DILATIONS)
    similarity = (near - images.double()[:, :, None]) / (near.std(2, keepdim=True) + 1e-8) / 0.3
    distance = torch.tensor([d * s for d in DILATIONS for s in (2**0.5, 1, 2**0.5, 1, 1, 2**0.5, 1, 2**0.5)])
    position = (-((distance.double() / (distance.double().std() + 1e-8) / 0.3) ** 2)).softmax(0)
    weights = (-(similarity**2)).mean(1).softmax(1) + 0.01 * position[:, None, None]
    expected = masks.double()
    for _ in range(4):
        expected = (weights[:, None] * gathered(expected, DILATIONS)).sum(2)
    torch.testing.assert_close(par(images, masks, DILATIONS, 4).double(), expected, rtol=1e-4, atol=1e-6)


def test_constant_masks_grow_by_the_weight_sum_in_par_and_stay_in_pamr(images):
    constant = torch.full((2, 1, 17, 23), 0.7)
    torch.testing.assert_close(par(images, constant, DILATIONS, 6), constant * 1.01**6)
    torch.testing.assert_close(pamr(images, constant, DILATIONS, 6), constant)


@pytest.mark.parametrize("refine", [par, pamr])
def test_mirrored_input_gives_mirrored_output(refine, images, masks):
    for dims in ((-1,), (-2,)):
        mirrored = refine(images.flip(dims), masks.flip(dims), DILATIONS, 3).flip(dims)
        torch.testing.assert_close(mirrored, refine(images, masks, DILATIONS, 3))


@pytest.mark.parametrize("refine", [par, pamr])
def test_mask_settles_on_the_image_edge(refine):
    images = torch.zeros(1, 3, 20, 20)
    images[..., 10:] = 200
    masks = torch.zeros(1, 1, 20, 20)
    masks[..., 12:] = 1  # two columns short of the edge
    assert (refine(images, masks, (1, 2, 4), 20)[0, 0, :, 11] > 0.5).all()


def test_one_colour_images_give_finite_masks(masks):
    flat = torch.full((2, 3, 17, 23), 93.7)
    assert par(flat, masks).isfinite().all()
    assert pamr(flat, masks).isfinite().all()


def test_small_masks_take_the_size_of_the_images(images, masks):
    assert par(images, masks[..., :9, :12], DILATIONS, 1).shape == masks.shape


def test_gradient_reaches_masks_through_fixed_weights(images, masks):
    masks.requires_grad_()
    par(images, masks, DILATIONS, 2).sum().backward()
    assert masks.grad.isfinite().all()
    # Total mass out is linear in the mask: Σ grad · mask is the output's sum.
    torch.testing.assert_close((masks.grad * masks).sum(), par(images, masks, DILATIONS, 2).sum())


def test_unequal_batches_and_empty_dilations_are_refused(images, masks):
    with pytest.raises(ValueError, match="one batch"):
        par(images, masks[:1])
    with pytest.raises(ValueError, match="positive"):
        pamr(images, masks, ())


@pytest.mark.parametrize("refine", [par, pamr])
def test_pseudo_labels_take_either_kernel(refine, images, masks):
    image = images[0].permute(1, 2, 0).numpy().astype(np.uint8)
    found = refine_by_par(image, masks[0].numpy(), PAR(kernel=refine.__name__, iterations=2))
    expected = refine(torch.from_numpy(image).permute(2, 0, 1)[None], masks[:1], iterations=2)
    np.testing.assert_array_equal(found, expected[0].numpy())
