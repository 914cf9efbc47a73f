"""Folding changes rounding and nothing else, and leaves alone what it cannot fold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss.backbones.folding import fold_batch_norm
from wsss.backbones.timm import TimmBackbone
from wsss.backbones.vit import ViTBackbone


@pytest.mark.parametrize(
    ("name", "options"),
    [("test_resnet", {}), ("mobilenetv2_035", {"pad_type": "same"}), ("test_vit", {})],
)
def test_outputs_stay_and_normalisations_go(name, options):
    torch.manual_seed(0)
    model = ViTBackbone(name) if name == "test_vit" else TimmBackbone(name, options=options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    model.eval()
    images = torch.randn(2, 3, 64, 64)
    folded = fold_batch_norm(model, lambda m: m(images))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    other = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(folded(other), model(other), rtol=1e-3, atol=1e-3)


def test_an_output_with_two_readers_is_left_alone():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            nn.init.constant_(self.norm.running_mean, 3)

        def forward(self, x):
            y = self.conv(x)
            return y + self.norm(y)

    model = Both().eval()
    assert fold_batch_norm(model, lambda m: m(torch.ones(1, 3, 2, 2))) is model
