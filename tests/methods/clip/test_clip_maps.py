"""CLIP-ES's maps and their refinement."""

from __future__ import annotations

import pytest
import torch

from wsss.backbones.clip import CLIPBackbone
from wsss.methods.softmax_cam import encode, softmax_cam, text_of
from wsss.refine.attention import box_masks, refine, sinkhorn_transition
from wsss.refine.walk import dense_walk

TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2}


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return CLIPBackbone("vit_base_patch16_clip_quickgelu_224", projection=10, options=TINY).eval().requires_grad_(False)


def test_classes_and_images_together_are_each_alone(backbone):
    images, text = torch.randn(3, 3, 48, 64), torch.nn.functional.normalize(torch.randn(7, 10), dim=1)
    labels = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    together = softmax_cam(backbone, encode(backbone, images, 2).last, text, 100.0, labels)
    assert not together.cams[labels == 0].any()
    for i in (0, 1):
        alone = softmax_cam(backbone, encode(backbone, images[i : i + 1]).last, text, 100.0, labels[i : i + 1])
        torch.testing.assert_close(together.raw[i], alone.raw[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together.probs[:2].sum(1), torch.ones(2))


def test_gradients_exist_in_inference_mode(backbone):
    with torch.inference_mode():
        images, text = torch.randn(1, 3, 32, 32), torch.nn.functional.normalize(torch.randn(3, 10), dim=1)
        found = softmax_cam(backbone, encode(backbone, images, 3).last, text, 100.0, torch.ones(1, 2))
    assert found.weights.abs().sum() > 0
    assert not found.raw.requires_grad


def test_summed_attention_of_blocks_and_mean_give_the_same_matrix(backbone):
    images = torch.randn(1, 3, 48, 64)
    encoded = encode(backbone, images, 2)
    cam = softmax_cam(backbone, encoded.last, torch.eye(2, 10), 1.0, torch.ones(1, 1))
    with torch.no_grad():
        attention = backbone.tokens(images, attention=True).mean_attention()[:, -2:, 1:, 1:]
    mean, summed = sinkhorn_transition(attention.mean(1)), sinkhorn_transition(encoded.attention + cam.attention)
    torch.testing.assert_close(mean, summed, rtol=1e-4, atol=1e-6)


def test_a_constant_map_is_nearly_a_fixed_point():
    transition = sinkhorn_transition(torch.rand(12, 12) + 0.5)
    torch.testing.assert_close(dense_walk(torch.ones(1, 12), transition, 2), torch.ones(1, 12), rtol=1e-2, atol=0)
    square = transition @ transition
    maps = torch.rand(3, 12)
    torch.testing.assert_close(dense_walk(maps, transition, 2), maps @ square)


def test_an_empty_map_has_no_box_and_stays_empty():
    assert not box_masks(torch.zeros(1, 4, 5), 0.4).mask.any()
    assert not refine(torch.zeros(1, 4, 5), sinkhorn_transition(torch.rand(20, 20)), 0.4).any()


def test_phrases_of_a_class_are_averaged_to_a_unit_vector():
    backgrounds = torch.eye(4)[2:]
    text = text_of([torch.eye(4)[:2], torch.eye(4)[:1]], backgrounds)
    torch.testing.assert_close(text.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(text[0, :2], torch.full((2,), 0.5**0.5))
