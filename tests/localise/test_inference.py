"""Inference in groups: the maps of one image alone, and only what is left to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from names import class_names
from wsss.backbones.timm import TimmBackbone
from wsss.config.views import CamViews
from wsss.data.dataset import Record
from wsss.localise.inference import WriteBehind, cam_group, for_inference, pending
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


def test_only_groups_that_are_not_whole_everywhere_are_left():
    groups = [[Record(i, Path(), None, np.zeros(1), "train", True, (1, 1)) for i in ids] for ids in ("ab", "cd", "ef")]
    assert pending(groups, {"a", "b", "c"}, {"a", "b", "c", "d"}) == groups[1:]


def test_writes_keep_their_order_and_errors_come_back():
    written = []
    with WriteBehind() as behind:
        for i in range(50):
            behind(written.append, i)
    assert written == list(range(50))
    with pytest.raises(ZeroDivisionError), WriteBehind() as behind:
        behind(lambda: 1 / 0)
