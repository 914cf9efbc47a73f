"""Weights of another network, or what is none: one line that says what the file holds and what is needed."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from tiny_clip import BACKBONE as CLIP
from tiny_clip import save_clip
from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import read_state_dict
from wsss.config.sections import Backbone

TINY = {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 2}
PLAIN, WITH_REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
NETWORKS = {
    "clip": CLIP,
    "dino": {"name": PLAIN, "options": TINY},
    "dino registers": {"name": WITH_REGISTERS, "options": TINY},
    "dino deeper": {"name": PLAIN, "options": TINY | {"depth": 3}},
    "dino larger": {"name": PLAIN, "options": TINY | {"img_size": 70}},
    "cnn": {"name": "test_resnet"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of CLIP's two towers, of one each, and of DINOv2 under timm's and the authors' names."""
    folder = tmp_path_factory.mktemp("weights")
    save_clip(folder / "clip.safetensors")
    whole = read_state_dict(folder / "clip.safetensors")
    save_file({n: t for n, t in whole.items() if not n.startswith("visual.")}, folder / "text.safetensors")
    patch = {"visual.conv1.weight": torch.zeros(32, 3, 32, 32)}
    save_file(whole | patch, folder / "patch32.safetensors")
    for name, kind in (("dino", PLAIN), ("registers", WITH_REGISTERS)):
        state = build_backbone(Backbone(name=kind, pretrained=False, options=TINY)).net.state_dict()
        torch.save(state, folder / f"{name}-timm.pth")
        if "reg_token" in state:
            state["register_tokens"] = state.pop("reg_token")
            state["pos_embed"] = torch.cat([torch.zeros(1, 1, 24), state["pos_embed"]], 1)
        torch.save(state | {"mask_token": torch.zeros(1, 24)}, folder / f"{name}-hub.pth")
    (folder / "page.pt").write_text("<!DOCTYPE html><html>Sign in")
    (folder / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 353976522\n")
    (folder / "empty.pt").touch()
    for name in ("clip.safetensors", "dino-hub.pth"):
        content = (folder / name).read_bytes()
        (folder / f"half-{name}").write_bytes(content[: len(content) // 2])
    return folder


def built(network, file):
    return build_backbone(Backbone.model_validate(NETWORKS[network] | {"pretrained": False, "checkpoint": str(file)}))


@pytest.mark.parametrize("file", ["dino-timm.pth", "dino-hub.pth", "registers-timm.pth", "registers-hub.pth"])
def test_files_of_the_network_itself_are_read(file, files):
    assert built("dino registers" if file.startswith("reg") else "dino", files / file).depth == 2


@pytest.mark.parametrize(
    ("network", "file", "message"),
    [
        ("clip", "text.safetensors", "holds no image tower that is a ViT, and needed is a CLIP of patch 16, width 32"),
        ("clip", "patch32.safetensors", "holds a CLIP of patch 32, .* needed is a CLIP of patch 16"),
        ("clip", "dino-timm.pth", "holds a DINOv2 of patch 14, width 24, 2 blocks, .* needed is a CLIP of patch 16"),
        ("clip", "dino-hub.pth", "holds a DINOv2 of patch 14, width 24, 2 blocks, .* needed is a CLIP of patch 16"),
        ("dino", "clip.safetensors", "holds a CLIP of patch 16, .* needed is a DINOv2 of patch 14, width 24"),
        ("dino", "registers-timm.pth", "2 blocks, 4 registers, .* needed is .* 2 blocks, 0 registers"),
        ("dino", "registers-hub.pth", "2 blocks, 4 registers, .* needed is .* 2 blocks, 0 registers"),
        ("dino registers", "dino-timm.pth", "2 blocks, 0 registers, .* needed is .* 2 blocks, 4 registers"),
        ("dino registers", "dino-hub.pth", "2 blocks, 0 registers, .* needed is .* 2 blocks, 4 registers"),
        ("dino deeper", "dino-hub.pth", "2 blocks, .* needed is .* 3 blocks"),
        ("dino larger", "dino-hub.pth", "17 positions, and needed is .* 26 positions"),
        ("cnn", "clip.safetensors", "holds a CLIP of patch 16, .* needed is another kind of network"),
        ("cnn", "dino-hub.pth", "holds a DINOv2 of patch 14, .* needed is another kind of network"),
        ("cnn", "dino-timm.pth", "cannot build backbone 'test_resnet' .* from .*dino-timm.pth"),
        ("clip", "page.pt", "is a web page instead of weights"),
        ("clip", "pointer.pt", "is a pointer of Git LFS instead of weights"),
        ("clip", "empty.pt", "is empty"),
        ("clip", "half-clip.safetensors", "is not a readable safetensors file"),
        ("dino", "half-dino-hub.pth", "or is damaged"),
    ],
)
def test_another_file_is_told_from_the_networks_own(network, file, message, files):
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        built(network, files / file)
    assert file in str(error.value)
