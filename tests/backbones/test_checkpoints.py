"""Published checkpoints: every name finds its place, and what does not is listed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from names import class_names
from wsss.backbones.checkpoints import load_published, read_state_dict, rename
from wsss.backbones.irn_resnet import IRNResNet
from wsss.backbones.layouts import LAYOUTS, detect_layout
from wsss.backbones.mxnet import read_mxnet_params
from wsss.backbones.resnet38 import ResNet38
from wsss.methods.cam.network import CAM
from wsss.methods.cam.settings import Settings as CAMSettings
from wsss.methods.seam.network import Seam
from wsss.methods.seam.settings import Settings as SeamSettings
from wsss.refine.affinitynet.network import AffinityNet

DATA = Path(__file__).parents[1] / "golden" / "data"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.classifier = nn.Conv2d(4, 2, 1)


def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return {name: torch.randn(t.shape).to(t.dtype) for name, t in Small().state_dict().items()}


def assert_loaded(model: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def published(net: str) -> dict[str, Tensor]:
    keys = json.loads((DATA / f"keys_{net}.json").read_text())["keys"]
    return {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}


@pytest.mark.parametrize(
    ("net", "layout", "build"),
    [
        ("resnet38d", "resnet38", lambda: ResNet38()),
        ("resnet38_SEAM", "seam", lambda: Seam(ResNet38(), class_names(20), SeamSettings(name="seam"))),
        ("psa_resnet38_cls", "psa-cls", lambda: CAM(ResNet38(), class_names(20), CAMSettings(name="cam"))),
        ("psa_resnet38_aff", "psa-aff", lambda: AffinityNet(ResNet38(), stride=8)),
        ("resnet38_aff", "psa-aff", lambda: AffinityNet(ResNet38(), stride=8)),
    ],
)
def test_published_names_and_shapes_are_all_of_ours(net, layout, build):
    with torch.device("meta"):
        model = build()
    state = published(net)
    assert detect_layout(state) == layout
    ours = {name: t.shape for name, t in model.state_dict().items()}
    assert ours == {name: t.shape for name, t in rename(state, LAYOUTS[layout]).items()}


def test_irn_names_and_shapes_are_all_of_ours():
    state = published("irn_resnet50_cam")
    ours = {
        name: t.shape for name, t in CAM(IRNResNet(), class_names(20), CAMSettings(name="cam")).state_dict().items()
    }
    assert ours == {name: t.shape for name, t in rename(state, LAYOUTS[detect_layout(state)]).items()}


def test_frozen_parameters_are_the_published_ones():
    frozen = json.loads((DATA / "keys_psa_resnet38_cls.json").read_text())["not_requires_grad"]
    with torch.device("meta"):
        trunk = ResNet38().train()
    trunk.freeze(1)
    assert sorted(n for n, p in trunk.named_parameters() if not p.requires_grad) == sorted(frozen)
    assert not trunk.bn7.training and trunk.b6.dropout.training
    with pytest.raises(ValueError, match="5 stages"):
        trunk.freeze(6)


def test_every_file_format_prefix_and_wrapper_is_read(tmp_path):
    state = weights()
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "a.pth")
    torch.save({f"_orig_mod.module.{n}": t for n, t in state.items()}, tmp_path / "b.pt")
    save_file(state, tmp_path / "c.safetensors")
    for path in sorted(tmp_path.iterdir()):
        model = Small()
        load_published(model, path)
        assert_loaded(model, state)


def test_a_bare_trunk_goes_into_the_backbone():
    state, model = weights(), Small()
    trunk = {n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")}
    with pytest.raises(ValueError, match=r":\n  2 missing: classifier\.bias, classifier\.weight$"):
        load_published(model, trunk)
    del model.classifier
    load_published(model, trunk)
    torch.testing.assert_close(model.backbone[0].weight, state["backbone.0.weight"])


def test_files_without_batch_counters_load():
    state = {n: t for n, t in weights().items() if not n.endswith("num_batches_tracked")}
    load_published(Small(), state)


def test_a_mismatch_lists_everything_and_loads_nothing():
    state, model = weights(), Small()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    del state["classifier.bias"]
    state |= {f"extra.{i}": torch.zeros(1) for i in range(30)} | {"backbone.0.weight": torch.zeros(5, 3, 3, 3)}
    with pytest.raises(ValueError) as error:
        load_published(model, state)
    message = str(error.value)
    assert "1 missing: classifier.bias" in message
    assert "30 unexpected: extra.0" in message and "and 22 more" in message
    assert "backbone.0.weight (5, 3, 3, 3) instead of (4, 3, 3, 3)" in message
    assert_loaded(model, before)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"accepted: \.pth"):
        read_state_dict(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="does not exist"):
        read_state_dict(tmp_path / "y.pth")
    with pytest.raises(ValueError, match="accepted: acr, afa, clip"):
        load_published(Small(), weights(), "no-such-layout")


def mxnet_file(arrays: dict[str, np.ndarray], version: int) -> bytes:
    """What `mx.nd.save` writes, in format version 0 (MXNet < 0.9), 1, 2 or 3."""
    types = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        if version:
            out += struct.pack("<I", 0xF993FAC7 + version)
        if version >= 2:
            out += struct.pack("<i", 0)
        out += struct.pack("<I", array.ndim) + struct.pack(f"<{array.ndim}{'q' if version else 'I'}", *array.shape)
        out += struct.pack("<iii", 1, 0, types[array.dtype.name]) + array.tobytes()
    out += struct.pack("<Q", len(arrays))
    for name in arrays:
        out += struct.pack("<Q", len(name)) + name.encode()
    return out


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_mxnet_files_round_trip(tmp_path, version):
    rng = np.random.default_rng(0)
    arrays = {
        "arg:conv1a_weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "aux:bn7_moving_var": rng.standard_normal(5).astype(np.float16),
        "arg:ids": rng.integers(-9, 9, (2, 3)),
    }
    path = tmp_path / "net-0001.params"
    path.write_bytes(mxnet_file(arrays, version))
    got = read_mxnet_params(path)
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name].numpy(), array)
        assert got[name].numpy().dtype == array.dtype
    path.write_bytes(mxnet_file(arrays, version)[:-30])
    with pytest.raises(ValueError, match="truncated"):
        read_mxnet_params(path)
    path.write_bytes(b"PK" + bytes(100))
    with pytest.raises(ValueError, match="not an MXNet"):
        read_mxnet_params(path)


def mxnet_names() -> dict[str, str]:
    """ResNet-38's name → MXNet's, for all of the published `.params` file but its ImageNet classifier."""
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
    with torch.device("meta"):
        ours = ResNet38().state_dict()
    names = {"conv1a.weight": "arg:conv1a_weight"}
    for name in ours:
        *path, kind = name.split(".")
        if name in names or kind == "num_batches_tracked":
            continue
        place = "aux" if kind.startswith("running") else "arg"
        if path == ["bn7"]:
            names[name] = f"{place}:bn7_{kinds[kind]}"
            continue
        block, _, number = path[0].removeprefix("b").partition("_")
        unit = f"{block}b{number}" if number else f"{block}a"
        layer, branch = path[1].split("_")
        suffix = kinds[kind] if layer == "bn" else "weight"
        names[name] = f"{place}:{'bn' if layer == 'bn' else 'res'}{unit}_{branch}_{suffix}"
    return names


def test_mxnet_names_are_those_of_resnet38():
    theirs = {mxnet: torch.zeros(i) for i, mxnet in enumerate(mxnet_names().values())}
    theirs |= {"arg:linear1000_weight": torch.zeros(1), "arg:linear1000_bias": torch.zeros(1)}
    assert "arg:res3b1_branch2b1_weight" in theirs and "aux:bn6a_branch2b2_moving_mean" in theirs
    renamed = rename(theirs, LAYOUTS[detect_layout(theirs)])
    assert {name: len(t) for name, t in renamed.items()} == {n: i for i, n in enumerate(mxnet_names())}
