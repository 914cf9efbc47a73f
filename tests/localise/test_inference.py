"""Inference in groups: the maps of one image alone, and only what is left to do."""

from __future__ import annotations

import numpy as np
import torch

from names import class_names
from wsss.backbones.timm import TimmBackbone
from wsss.config.views import CamViews
from wsss.localise.inference import cam_group, for_inference
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings


def test_a_group_gives_the_maps_of_each_image_alone():
    torch.manual_seed(0)
    model = CAM(TimmBackbone("test_resnet", output_stride=16), class_names(4), Settings(name="cam")).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 61, 3)).astype(np.uint8)
    labels = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]])
    settings = CamViews(scales=[1.0, 0.75], strided=True)
    together = cam_group(for_inference(model, torch.device("cpu")), images, labels, settings)
    for i, (maps, strided) in enumerate(together):
        alone = cam_group(model, images[i : i + 1], labels[i : i + 1], settings)[0].full
        assert maps.shape == (labels[i].sum(), 50, 61)
        torch.testing.assert_close(maps, alone, rtol=0, atol=1e-4)
        assert strided.shape == (labels[i].sum(), 13, 16)
