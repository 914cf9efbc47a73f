"""Published ViT checkpoints fill our networks, whole and exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.layers import StdConv2dSame

from names import class_names
from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import load_published, rename
from wsss.backbones.std_conv import SigmaStdConv2d
from wsss.backbones.vit import ViTBackbone
from wsss.backbones.vit_checkpoints import VIT_LAYOUTS, detect_vit_layout
from wsss.config.registry import METHODS
from wsss.config.sections import Backbone
from wsss.methods.acr.network import ACR
from wsss.methods.toco.network import ToCo

KEYS = Path(__file__).parents[1] / "golden" / "data"
NETWORKS = {
    "toco_deit_tiny": (ToCo, "deit_tiny_patch16_224", {}),
    "toco_deit_base": (ToCo, "deit_base_patch16_224", {}),
    "toco_vit_base": (ToCo, "vit_base_patch16_224", {}),
    "acr_vitb": (ACR, "vit_base_patch16_384", {}),
    "acr_vitb_hybrid": (ACR, "vit_base_r50_s16_384", {"sigma_eps": 1e-5}),
}


@pytest.mark.parametrize("published", NETWORKS)
def test_renamed_keys_are_our_networks_with_their_shapes(published):
    method, name, options = NETWORKS[published]
    keys = json.loads((KEYS / f"keys_{published}.json").read_text())["keys"]
    state = {key: torch.empty(entry["shape"], device="meta") for key, entry in keys.items()}
    layout = detect_vit_layout(state)
    assert layout == published.split("_")[0]
    with torch.device("meta"):
        settings = METHODS[layout].Settings(name=layout)
        model = method(ViTBackbone(name, **options), class_names(20), settings)
    renamed = rename(state, VIT_LAYOUTS[layout])
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in model.state_dict().items()}


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_an_imagenet_file_of_deit_gives_timms_features(name, tmp_path):
    reference = timm.create_model(name, depth=2).eval()
    torch.save({"model": reference.state_dict()}, tmp_path / "deit.pth")
    assert detect_vit_layout(reference.state_dict()) == "vit"
    backbone = ViTBackbone(name, options={"depth": 2}).eval()
    load_published(backbone, tmp_path / "deit.pth", VIT_LAYOUTS["vit"])
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.tokens(images).final, reference.forward_features(images), rtol=1e-4, atol=1e-5
        )


def test_other_networks_are_not_taken_for_vits():
    assert detect_vit_layout(timm.create_model("test_resnet").state_dict()) is None


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (7, 2), (1, 1)])
def test_the_published_weight_standardisation_divides_by_sigma_plus_eps(kernel, stride):
    plain = StdConv2dSame(3, 5, kernel, stride, eps=1e-20).double()
    plain.weight.data *= 10.0 ** -torch.arange(5.0)[:, None, None, None]
    published = SigmaStdConv2d(plain, eps=1e-3)
    images = torch.randn(1, 3, 9, 11).double()
    sigma = plain.weight.flatten(1).std(1, correction=0)
    expected = plain(images) * (sigma / (sigma + 1e-3))[:, None, None]
    torch.testing.assert_close(published(images), expected)


def test_a_plain_vit_has_no_weights_to_standardise():
    with pytest.raises(ValueError, match="sigma_eps is for weight-standardised"):
        ViTBackbone("test_vit", sigma_eps=1e-5)


def test_a_backbones_checkpoint_may_have_the_head_of_its_imagenet_file(tmp_path):
    reference = timm.create_model("deit_tiny_patch16_224").eval()
    torch.save({"model": reference.state_dict()}, tmp_path / "deit.pth")
    settings = Backbone(name="deit_tiny_patch16_224", checkpoint=tmp_path / "deit.pth")
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        ours = build_backbone(settings).eval().tokens(image).final
        torch.testing.assert_close(ours, reference.forward_features(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_pe_core_small_patch16_384"])
def test_networks_without_maps_are_refused(name):
    with pytest.raises(ValueError, match="accepted are networks with maps"):
        build_backbone(Backbone(name=name, pretrained=False))
