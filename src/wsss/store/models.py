"""Model files: safetensors that describe how to build their network, so that they load without anything else.

The single metadata entry `wsss` is a JSON object: kind (classifier, affinity or segmentation), settings (the
stage's section), classes (C names, background first), weights (digest of the tensors) and digest (of the
other four), so that no damaged byte is read as another network. It is one entry because safetensors does not keep the
order of several, and equal models must be equal files.
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
from wsss.runtime.tensors import require_finite, tensors_digest
from wsss.store.about import about_digest, read_about


def save_model(model: nn.Module, path: Path, kind: str, settings: Mapping[str, Any], classes: list[str]) -> None:
    """Writes a network's weights with the description of how to build it, atomically.

    kind: classifier, affinity or segmentation. settings: the stage's section. classes: C names, background first.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    require_finite(tensors, str(path), "the network cannot be used")
    about = {"kind": kind, "settings": settings, "classes": classes, "weights": tensors_digest(tensors)}
    text = json.dumps(about | {"digest": about_digest(about)}, ensure_ascii=False)
    write_atomically(path, lambda temporary: save_file(tensors, temporary, {"wsss": text}))


def read_model(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[str]]:
    """Weights, settings and class names of a model file.

    Raises:
        ValueError: not a model file written by wsss, damaged, or of another kind.
    """
    about = read_about(path)
    if about["kind"] != kind:
        raise ValueError(f"{path}: expected a wsss model of kind '{kind}', found {about['kind']}")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    require_finite(tensors, str(path), "remove the file, and it is made again")
    if "weights" in about and about["weights"] != tensors_digest(tensors):
        raise ValueError(f"{path}: damaged (its weights are not those that were written)")
    return tensors, about["settings"], about["classes"]
