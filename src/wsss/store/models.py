"""Model files: safetensors that say how their network is built, so that they load alone.

The one metadata entry `wsss` is a JSON object: kind (classifier, affinity or segmentation), settings (the
stage's section) and classes (C names, background first). One entry, because safetensors writes several in
any order, and equal models shall be equal files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from wsss.runtime.files import write_atomically
from wsss.runtime.tensors import require_finite


def save_model(model: nn.Module, path: Path, kind: str, settings: Mapping[str, Any], classes: list[str]) -> None:
    """Writes weights and how to build the network, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    require_finite(tensors, str(path), "the network cannot be used")
    about = json.dumps({"kind": kind, "settings": settings, "classes": classes}, ensure_ascii=False)
    write_atomically(path, lambda temporary: save_file(tensors, temporary, {"wsss": about}))


def read_about(path: Path) -> dict[str, Any]:
    """The kind, settings and classes of a model file.

    Raises:
        ValueError: not a model file of ours.
    """
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["wsss"])
    except KeyError:
        raise ValueError(f"{path}: a safetensors file, but not a model written by wsss") from None
    except Exception as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from error


def read_model(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[str]]:
    """Weights, settings and class names of a model file.

    Raises:
        ValueError: not a model file of ours, or one of another kind.
    """
    about = read_about(path)
    if about["kind"] != kind:
        raise ValueError(f"{path}: expected a wsss model of kind '{kind}', found {about['kind']}")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    require_finite(tensors, str(path), "remove the file, and it is made again")
    return tensors, about["settings"], about["classes"]
