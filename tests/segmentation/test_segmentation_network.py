"""Segmentation networks: what the encoder takes from a backbone."""

from __future__ import annotations

import pytest
import torch

from wsss.backbones.build import freeze_batch_norm
from wsss.backbones.timm import TimmBackbone
from wsss.segmentation.network import SegmentationNet

NAME = "mobilenetv2_050"


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return TimmBackbone(NAME, output_stride=16)


def network() -> SegmentationNet:
    return SegmentationNet("DeepLabV3Plus", NAME, 3, output_stride=16, options={"decoder_channels": 32})


def test_the_encoder_computes_what_the_backbone_computes(backbone):
    model, images = network().eval(), torch.randn(1, 3, 64, 64)
    model.load_encoder(backbone.eval())
    deepest = model.net.encoder(images)[-1]
    expected = backbone.features_and_pyramid(images)[1][-1]
    torch.testing.assert_close(deepest, expected)


def test_what_the_backbone_does_not_train_the_encoder_does_not(backbone):
    backbone.freeze(1)
    model = network()
    model.load_encoder(backbone)
    count = lambda net: sum(p.numel() for p in net.parameters() if not p.requires_grad)  # noqa: E731
    assert count(model.net.encoder) == count(backbone.net) > 0
    assert all(p.requires_grad for p in model.head_parameters())


def test_frozen_batch_norm_of_the_encoder_leaves_the_new_decoder_to_learn_its_own(backbone):
    model = network()
    freeze_batch_norm(model.net.encoder)
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers() if name.endswith("running_mean")}
    model(torch.randn(4, 3, 64, 64))
    moved = {name for name, value in model.named_buffers() if name in before and not value.equal(before[name])}
    assert moved and not [name for name in moved if ".encoder." in name]
    assert {name for name in before if ".encoder." not in name} == moved
