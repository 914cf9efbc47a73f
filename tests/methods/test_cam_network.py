"""The plain classifier: how its positions are pooled, and what its weights start as."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss.backbones.base import Backbone
from wsss.data.batch import Batch
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings
from wsss.methods.pooling import pool

NAMES = ["background", "a", "b", "c"]


class Long(Backbone):
    """Features as long as DeiT-tiny's tokens."""

    channels, stride = 192, 16

    def forward(self, images):
        return 25 * nn.functional.normalize(images, dim=1)

    def features_and_pyramid(self, images):
        return self(images), [self(images)]

    def freeze(self, stages):
        pass


def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 192, 4, 4, generator=generator)
    return Batch(images, torch.tensor([[1.0, 0, 0], [0, 1, 1]]), torch.tensor([[0, 4, 0, 4]] * 2), {})


@pytest.mark.parametrize("init", ["zeros", "kaiming", "xavier"])
def test_weights_start_as_the_settings_say(init):
    torch.manual_seed(0)
    model = CAM(Long(), NAMES, Settings(name="cam", pooling="top_quarter", init=init))
    start = model(batch(), 0)["cls"]
    if init != "zeros":
        assert start > 1  # long features: random scores are far from those of a guess
        return
    assert start.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())
    start.backward()
    assert model.classifier.weight.grad.abs().amax(1).min() > 0  # every class learns from the first step


def test_pooling_over_positions():
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    assert pool(maps, "average").item() == 7.5 and pool(maps, "max").item() == 15
    assert pool(maps, "top_quarter").item() == 13.5  # of 12 … 15
    assert pool(maps[..., :1, :1], "top_quarter").item() == 0
