"""Gradient localisers: identities that hold for a linear classifier of averaged features."""

from __future__ import annotations

import pytest
import torch

from names import class_names
from wsss.backbones.timm import TimmBackbone
from wsss.localise.gradients import LOCALISERS, localise
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return CAM(TimmBackbone("test_resnet"), class_names(3), Settings(name="cam")).eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["gradcam", "hirescam"])
def test_equals_cam_for_an_averaging_classifier(method, images, name):
    with torch.no_grad():
        cam = method.activation_maps(images)
        maps = localise(method, images, name)
    torch.testing.assert_close(maps * cam[0, 0].numel(), cam, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["cam", *LOCALISERS])
def test_maps_are_non_negative_and_leave_no_trace(method, images, name):
    before = method.logits(images)
    with torch.no_grad():
        maps = localise(method, images, name)
        assert not torch.is_grad_enabled()
    assert maps.shape == (2, 3, 3, 2) and maps.min() >= 0 and maps.max() > 0
    assert not maps.requires_grad and all(p.grad is None for p in method.parameters())
    assert not method.backbone._forward_hooks and not method.backbone._forward_pre_hooks
    after = method.logits(images)
    assert after.requires_grad and torch.equal(after, before)


def test_images_of_a_batch_do_not_mix(method, images):
    both = localise(method, images, "gradcam++")
    one = localise(method, images[1:], "gradcam++")
    torch.testing.assert_close(both[1:], one, atol=1e-7, rtol=1e-4)


def test_unknown_localiser_is_named(method, images):
    with pytest.raises(ValueError, match=r"'grad-cam'.*gradcam\+\+"):
        localise(method, images, "grad-cam")
