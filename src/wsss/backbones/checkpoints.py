"""Published checkpoints: reading of their file formats, renaming, strict loading."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wsss.backbones.anatomy import anatomy
from wsss.backbones.base import Backbone
from wsss.backbones.clip_checkpoints import clip_state_dict
from wsss.backbones.dino_checkpoints import dinov2_state_dict, dinov3_state_dict
from wsss.backbones.layouts import LAYOUTS, detect_layout
from wsss.backbones.mit_checkpoints import afa_state_dict, mit_state_dict
from wsss.backbones.mxnet import read_mxnet_params
from wsss.backbones.rules import Rules, rename
from wsss.backbones.torchscript import is_torchscript, torchscript_tensors
from wsss.runtime.tensors import require_finite
from wsss.store.about import require_weights

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_LISTED = 8
_CONVERTERS = {
    "mit": mit_state_dict,
    "afa": afa_state_dict,
    "clip": clip_state_dict,
    "dinov2": dinov2_state_dict,
    "dinov3": dinov3_state_dict,
}
"""Layouts whose tensors are split or joined as well as renamed."""


def load_published(
    model: nn.Module,
    source: Path | str | Mapping[str, Tensor],
    layout: str | Rules | None = None,
) -> None:
    """Load a published state dict into one of this package's networks.

    Args:
        model: the network; a checkpoint of a bare backbone is loaded into its `backbone`, if it has one, and a bare
            `Backbone` takes its part of the checkpoint of a whole method.
        source: a `.pth`, `.safetensors` or MXNet `.params` file, or a state dict.
        layout: naming scheme of the checkpoint: a key of `LAYOUTS` or `_CONVERTERS`, or rules; None: detected.

    BatchNorm's `num_batches_tracked` may always be missing: files older than PyTorch 0.4.1 do not have it.

    Raises:
        ValueError: names are missing or unexpected, or shapes differ; unknown layout or file format.
    """
    state = read_state_dict(source) if isinstance(source, (str, Path)) else dict(source)
    state = strip_prefix(unwrap(state))
    state = own_names(state, detect_layout(state) if layout is None else layout)
    whole = is_whole_method(state)
    if hasattr(model, "backbone") and not whole:
        state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    if isinstance(model, Backbone) and whole:
        state = {n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")}
    what = str(source) if isinstance(source, (str, Path)) else "the state dict"
    load_strictly(model, state, what)


def is_whole_method(state: Mapping[str, object]) -> bool:
    """Whether a state dict under this package's names holds a method and not a bare backbone."""
    return any(name.startswith("backbone.") for name in state)


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a `.pth`/`.pt`/`.ckpt` (also TorchScript), `.safetensors` or MXNet `.params` file, on the CPU.

    Raises:
        ValueError: the file does not exist, or has another suffix or content.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint '{path}' does not exist")
    require_weights(path)
    state = _read(path)
    if not isinstance(state, Mapping):
        raise ValueError(f"'{path}' holds a {type(state).__name__}; accepted is a mapping of names to tensors")
    for name, tensor in unwrap(state).items():
        if odd := _oddness(tensor):
            raise ValueError(f"'{path}': tensor {name} is {odd}; accepted are plain tensors")
    return state


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:
            raise ValueError(f"'{path}' is not a readable safetensors file: {error}") from error
    if path.suffix == ".params":
        return read_mxnet_params(path)
    try:
        return _unpickled(path)
    except Exception as error:
        raise ValueError(
            f"'{path}' is no checkpoint of tensors alone (accepted: .pth, .safetensors, .params), or is damaged"
        ) from error


def _oddness(tensor: Tensor) -> str | None:
    """The property for which a tensor cannot be a network's weights; None for most."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        return "sparse, quantised or complex"
    if tensor.is_meta or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "larger than its values in the file"
    return None


def _unpickled(path: Path) -> object:
    """The content of a file of torch, read without running code; an archive that expands is refused."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            compressed = (entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED)
            if any("/data" in name for name in compressed):  # torch compresses code alone
                raise ValueError("its data are compressed, to any size")
            if is_torchscript(archive):
                return torchscript_tensors(archive)
    return torch.load(path, map_location="cpu", weights_only=True)


def own_names(state: Mapping[str, Tensor], layout: str | Rules) -> dict[str, Tensor]:
    """The state dict under this package's names.

    Raises:
        ValueError: unknown layout.
    """
    if not isinstance(layout, str):
        return rename(state, layout)
    if layout in _CONVERTERS:
        return _CONVERTERS[layout](state)
    if layout not in LAYOUTS:
        accepted = ", ".join(sorted([*LAYOUTS, *_CONVERTERS]))
        raise ValueError(f"unknown checkpoint layout '{layout}'; accepted: {accepted}")
    return rename(state, LAYOUTS[layout])


def unwrap(state: Mapping[str, object]) -> dict[str, Tensor]:
    """The state dict inside a training checkpoint."""
    for key in _WRAPPERS:
        if isinstance(inner := state.get(key), Mapping) and inner is not state:
            return unwrap(inner)
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and isinstance(name, str)}


def strip_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the prefix `module.` of DataParallel or `_orig_mod.` of torch.compile."""
    for prefix in ("module.", "_orig_mod."):
        if state and all(name.startswith(prefix) for name in state):
            return strip_prefix({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return dict(state)


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], what: str = "the state dict") -> None:
    """`load_state_dict` that reports all errors at once, and loads nothing if there are any.

    BatchNorm's `num_batches_tracked` may be missing. what: name of the state dict in messages.

    Raises:
        ValueError: as `require_fit`; or weights are not finite.
    """
    require_fit(model, state, what)
    require_finite(state, what)
    model.load_state_dict(dict(state), strict=False)


def require_fit(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Compares names, shapes and kinds of numbers, without a look at values.

    Raises:
        ValueError: names are missing or unexpected, shapes differ, or weights are no real numbers (all are listed).
    """
    own = model.state_dict()
    missing = sorted(name for name in own.keys() - state.keys() if not name.endswith("num_batches_tracked"))
    unexpected = sorted(state.keys() - own.keys())
    reshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    retyped = [
        f"{name} {str(state[name].dtype).removeprefix('torch.')}"
        for name in sorted(own.keys() & state.keys())
        if own[name].is_floating_point() and not state[name].is_floating_point()
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    problems |= {"of whole or complex numbers": retyped}
    if any(problems.values()):
        lines = [f"  {len(names)} {kind}: {_shortened(names)}" for kind, names in problems.items() if names]
        raise ValueError("\n".join([f"{what} does not fit {type(model).__name__}:{_other(state, own)}", *lines]))


def _other(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The file's kind of transformer and the network's, where they differ."""
    found, needed = anatomy(state), anatomy(own)
    return f" it holds {found}, and needed is {needed}" if found != needed else ""


def _shortened(names: list[str]) -> str:
    more = f" … and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
