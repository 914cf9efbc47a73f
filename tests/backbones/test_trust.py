"""What somebody else's model file says of its backbone builds a network, and reads no file and no address."""

from __future__ import annotations

import socket
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from wsss.backbones.build import build_backbone
from wsss.backbones.checkpoints import read_state_dict
from wsss.config.sections import Backbone
from wsss.segmentation.network import SegmentationNet

ACTING = {
    "pretrained": True,
    "checkpoint_path": "weights.pth",
    "pretrained_cfg": {"file": "weights.pth"},
    "pretrained_cfg_overlay": {"url": "http://example.invalid/w.pth"},
    "cache_dir": "cache",
}
ADDRESSES = ["hf-hub:somebody/x", "hf_hub:somebody/x", "local-dir:/tmp", "timm/test_resnet"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was called")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def build(name, options):
    return build_backbone(Backbone(name=name, options=options), weights=False)


@pytest.mark.parametrize("option", ACTING)
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_options_that_read_weights_are_refused(name, option):
    with pytest.raises(ValueError, match=f"has the options .*{option}"):
        build(name, {option: ACTING[option]})


@pytest.mark.parametrize("option", ACTING)
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("name", ["test_vit", "mit_b0"])
def test_a_stem_reads_no_weights(name, nested, option):
    given = {option: ACTING[option]}
    stem = {"name": "test_resnet"} | ({"options": given} if nested else given)
    with pytest.raises(ValueError, match=f"has the options .*{option}"):
        build(name, {"stem": stem})


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_are_no_names(name):
    for given in ((name, {}), ("test_vit", {"stem": {"name": name}})):
        with pytest.raises(ValueError, match="is an address"):
            build(*given)
    with pytest.raises(ValueError, match="is an address"):
        SegmentationNet("Unet", name, 3)


@pytest.mark.parametrize("option", ACTING)
def test_a_segmentation_network_reads_no_weights(option):
    for given in ("encoder_options", "options"):
        with pytest.raises(ValueError, match=f"has the options .*{option}"):
            SegmentationNet("Unet", "test_resnet", 3, **{given: {option: ACTING[option]}})


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".params"])
def test_a_web_page_is_called_one(ending, tmp_path):
    page = tmp_path / f"w{ending}"
    page.write_text("\n<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(ValueError, match="is a web page instead of weights"):
        read_state_dict(page)


class Acting(torch.nn.Module):
    """Creates a file when TorchScript loads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]
        self.weight = torch.from_file("made", True, 4, dtype=torch.float32)


def test_torchscript_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Acting()).save("x.pt")
    assert read_state_dict("x.pt") == {} and not (tmp_path / "made").exists()


ODD = {
    "sparse": torch.eye(2).to_sparse(),
    "complex": torch.ones(2, dtype=torch.complex64),
    "without values": torch.ones(2, device="meta"),
    "one value for many": torch.ones(1).expand(10**6, 10**6),
}


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_weights(kind, tmp_path):
    torch.save({"model": {"w": ODD[kind]}, "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth': tensor w is (sparse|larger).*; accepted are plain tensors"):
        read_state_dict(tmp_path / "w.pth")


def test_compressed_weights_are_not_expanded(tmp_path):
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "a.pth")
    with ZipFile(tmp_path / "a.pth") as plain, ZipFile(tmp_path / "w.pth", "w", ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match=r"w\.pth' is no checkpoint of tensors alone"):
        read_state_dict(tmp_path / "w.pth")


def test_no_advice_to_run_code(tmp_path):
    torch.save({"w": torch.nn.Linear(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(ValueError) as refused:
        read_state_dict(tmp_path / "w.pth")
    assert "weights_only" not in str(refused.value)
    assert "\n" not in str(refused.value)
