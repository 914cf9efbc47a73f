"""The token decoder on a frozen transformer, from settings to a model file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss.config.stages import TrainSegmentation
from wsss.methods.decode import load_segmenter
from wsss.segmentation.build import build_segmentation
from wsss.segmentation.onnx import export_onnx
from wsss.store.models import save_model

SETTINGS = {
    "architecture": "TokenDecoder",
    "options": {"width": 16, "heads": 2, "layers": 1},
    "backbone": {"name": "test_vit", "pretrained": False},
}


def built(**changes):
    return TrainSegmentation.model_validate(SETTINGS | changes)


def test_only_the_decoder_learns_and_any_size_is_decoded():
    model = build_segmentation(built(), 4).train()
    images = torch.randn(2, 3, 40, 57)
    logits = model(images)
    assert logits.shape == (2, 4, 40, 57)
    logits.mean().backward()
    heads = {id(p) for p in model.head_parameters()}
    assert all((p.grad is not None) == (id(p) in heads) for p in model.parameters())
    assert not model.encoder.training and model.head.training


def test_the_model_file_is_whole(tmp_path):
    settings = built()
    model = build_segmentation(settings, 3).eval()
    section = settings.model_dump(mode="json", exclude={"rng_seed"})
    save_model(model, tmp_path / "m.safetensors", "segmentation", section, ["background", "cat", "dog"])
    loaded = load_segmenter(tmp_path / "m.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (33, 48, 3), np.uint8)
    np.testing.assert_array_equal(loaded.predict(image), model.predict(image))
    assert loaded.class_names == ["background", "cat", "dog"]
    with pytest.raises(ValueError, match="positions of a transformer"):
        export_onnx(tmp_path / "m.safetensors", tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": {"name": "test_resnet", "pretrained": False}}, "reads a transformer's tokens"),
        ({"options": {"blocks": [40]}}, r"blocks \[40\] do not exist"),
        ({"options": {"blocks": []}}, r"options\.blocks: list should have at least 1 item"),
        ({"options": {"blocks": ["last"]}}, r"options\.blocks\.0: input should be a valid integer.*; found 'last'"),
        ({"options": {"blocks": [True]}}, r"options: blocks: a number is needed; found \[True\]"),
        ({"options": {"blocks": [1, 1]}}, r"options\.blocks: 1 occurs 2 times"),
        ({"options": {"blocks": 3}}, r"options\.blocks: input should be a valid list; found 3"),
        ({"options": {"width": 0}}, r"options\.width: input should be greater than or equal to 1; found 0"),
        ({"options": {"layers": -1}}, r"options\.layers: input should be greater than or equal to 1; found -1"),
        ({"options": {"heads": 0}}, r"options\.heads: input should be greater than or equal to 1; found 0"),
        ({"architecture": "DeepLabV2", "options": {"rates": [0]}}, r"options\.rates\.0: input should be greater"),
        ({"architecture": "LargeFOV", "options": {"dropout": 2}}, r"options\.dropout: .* or equal to 1; found 2"),
        ({"options": {"decoder_channels": 3}}, "takes the options blocks, width, layers, heads"),
        ({"options": {"width": 10, "heads": 4}}, "no multiple"),
    ],
)
def test_what_cannot_be_built_is_one_message(changes, message):
    with pytest.raises(ValueError, match=message):
        build_segmentation(built(**changes), 3)


def test_another_backbone_than_the_classifiers_is_refused():
    other = build_segmentation(built(backbone={"name": "vit_tiny_patch16_224", "pretrained": False}), 3).encoder
    with pytest.raises(ValueError, match="need the same backbone"):
        build_segmentation(built(), 3, other)
