"""ToCo's dense energy loss: its gradient where it is a true one, its gate, and the two kernels."""

from __future__ import annotations

import pytest
import torch

from wsss.refine.crf.energy import bilateral_filter, dense_energy, dense_energy_loss
from wsss.runtime.tensors import box_mask

BOXES = torch.tensor([[0, 8, 1, 10], [2, 8, 0, 7]])
UNKNOWN = torch.full((2, 8, 10), 255)


def images(seed=0, size=(8, 10)):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed)) * 60


def probs(seed=1, size=(8, 10), dtype=torch.float32):
    return torch.randn(2, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_gradient_is_true_where_the_gate_is_open(scale):
    p = probs(dtype=torch.float64).requires_grad_()
    roi = box_mask(BOXES, (8, 10))
    pixels = images().double()  # the exact kernel is symmetric, and the gate of unknown labels is 1

    def energy(p):
        return dense_energy(pixels, p, UNKNOWN, roi, 15, 100, scale, weight=1.0, kernel="exact")

    assert torch.autograd.gradcheck(energy, (p,))


@pytest.mark.parametrize("kernel", ["lattice", "exact"])
def test_gradient_holds_the_gate_constant(kernel):
    p, roi = probs().requires_grad_(), torch.ones(2, 8, 10)
    labels = torch.zeros(2, 8, 10, dtype=torch.uint8)
    dense_energy(images(), p, labels, roi, 15, 100, 1.0, weight=0.5, kernel=kernel).backward()
    with torch.no_grad():
        gate = 1 - p.amax(1, keepdim=True)
        expected = -2 * 0.5 / 2 * gate * bilateral_filter(images(), p, 100, 15, kernel)
    torch.testing.assert_close(p.grad, expected)


def test_certain_labelled_pixels_and_padding_gain_nothing():
    p = torch.zeros(2, 3, 8, 10)
    p[:, 1] = 1
    p.requires_grad_()
    labels = torch.zeros(2, 8, 10)
    labels[0] = 255
    dense_energy(images(), p, labels, box_mask(BOXES, (8, 10)), scale=1.0).backward()
    inside = box_mask(BOXES, (8, 10))[0]
    assert (p.grad[0, 1][inside] < 0).all()
    assert (p.grad[0, :, ~inside] == 0).all()
    assert (p.grad[1] == 0).all()


def test_agreeing_look_alikes_have_the_lowest_energy():
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[..., 4:] = 200
    roi, unknown = torch.ones(1, 8, 8), torch.full((1, 8, 8), 255)
    matching = (pixels[:, :1] > 0).float()
    mismatched = matching.roll(2, -1)
    energies = [dense_energy(pixels, torch.cat([m, 1 - m], 1), unknown, roi, scale=1.0) for m in (matching, mismatched)]
    assert energies[0] < energies[1] < 0


def test_lattice_is_the_stated_share_of_the_exact_kernel():
    smooth = images(size=(4, 5)).repeat_interleave(6, 2).repeat_interleave(6, 3)
    values = probs(size=smooth.shape[-2:])
    ratio = bilateral_filter(smooth, values, 50, 15) / bilateral_filter(smooth, values, 50, 15, "exact")
    assert 0.4 < ratio.median() < 0.7


def test_loss_of_logits_is_the_energy_of_grey_levels():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shift, scale = (torch.tensor(v)[:, None, None] for v in (mean, std))
    logits = torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(2))
    loss = dense_energy_loss((images() / 255 - shift) / scale, logits, UNKNOWN, BOXES, mean, std)
    expected = dense_energy(images(), logits.softmax(1), UNKNOWN, box_mask(BOXES, (8, 10)))
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)
    assert loss < 0


def test_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="'box' given; accepted: lattice, exact"):
        bilateral_filter(images(), probs(), 50, 15, "box")
