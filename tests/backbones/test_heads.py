"""A checkpoint's classes are not ours: its head is not used, whatever its size, and its backbone is."""

from __future__ import annotations

import logging

import pytest
import timm
import torch

from wsss.backbones.build import build_backbone
from wsss.config.sections import Backbone

NETWORKS = {"test_resnet": "test_resnet", "test_vit": "test_vit", "test_efficientnet": "test_efficientnet"}
NETWORKS |= {"irn_resnet50": "resnet50"}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("classes", [1000, 37, 1, 0])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_backbone_is_taken_and_the_head_is_not(tmp_path, caplog, name, classes, wrapped):
    if name == "irn_resnet50" and (wrapped or classes != 37):
        pytest.skip("large, and of the same kind as the first")
    state = timm.create_model(NETWORKS[name], num_classes=classes).state_dict()
    path = tmp_path / "finetuned.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}} if wrapped else state, path)
    caplog.set_level(logging.WARNING, logger="wsss")
    backbone = build_backbone(Backbone(name=name, pretrained=False, checkpoint=path))
    found = backbone.state_dict()
    taken = [
        key for key in found if any(torch.equal(found[key], v) for v in state.values() if v.shape == found[key].shape)
    ]
    assert len(taken) == len(found)
    if not name.endswith("vit"):
        remark = {1000: "", 0: "has no head"}.get(classes, f"has a head of {classes} classes, which is not used")
        assert remark in caplog.text and bool(remark) == bool(caplog.text)


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_efficientnet", num_classes=3).state_dict(), path)
    with pytest.raises(ValueError, match="test_resnet"):
        build_backbone(Backbone(name="test_resnet", pretrained=False, checkpoint=path))
