"""The `net_*` cases' weights, which are computed from the parameters' names instead of being stored."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shapes = Mapping[str, tuple[Sequence[int], str]]

_KEYS = Path(__file__).parent / "data"  # key lists belong to the networks, not to one set of vectors
_CHUNK = 1 << 16  # stays in the cache: 100 M parameters take about a second


def formula_state_dict(shapes: Shapes, first_names: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """The formula weights of a network, under its published names and in their order.

    Args:
        shapes: name -> (shape, dtype), as `published_shapes` or `meta_shapes` give it.
        first_names: name -> the first name of the same tensor, for names that alias an earlier one; an alias
            shares the tensor of its first name.

    `num_batches_tracked` is 0; other integer buffers (path indices) are left out, as the formula skips them.
    """
    first_names = first_names or {}
    state: dict[str, Tensor] = {}
    for name, (shape, dtype) in shapes.items():
        first = first_names.get(name, name)
        if first in state:
            state[name] = state[first]
        elif "float" in dtype:
            state[name] = formula_tensor(first, shape)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
    return state


def formula_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """One float32 tensor of the formula: a hash of its name and of each entry's index."""
    scale, offset = _scale_and_offset(name.rsplit(".", 1)[-1], shape)
    seed = zlib.crc32(name.encode()) * 0x9E3779B9 % 2**32
    values = np.empty(math.prod(shape), np.float32)
    for start in range(0, values.size, _CHUNK):
        stop = min(start + _CHUNK, values.size)
        values[start:stop] = (_uniform(start, stop, seed) - 0.5) * scale + offset
    return torch.from_numpy(values.reshape(tuple(shape)))


def _scale_and_offset(kind: str, shape: Sequence[int]) -> tuple[float, float]:
    """Value = (u − 0.5)·scale + offset."""
    if kind == "running_var":
        return 1.0, 1.0
    if kind in ("running_mean", "bias"):
        return 0.1, 0.0
    if kind == "weight" and len(shape) == 1:
        return 0.5, 1.0
    fan = math.prod(shape[1:]) if len(shape) >= 2 else 1
    return 2 * math.sqrt(3 / fan), 0.0


def _uniform(start: int, stop: int, seed: int) -> np.ndarray:
    """u in [0, 1) of the flat indices start … stop − 1, float64; the arithmetic wraps at 2³²."""
    x = np.arange(start, stop, dtype=np.uint64).astype(np.uint32) + np.uint32(seed)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x.astype(np.float64) * 2.0**-32


def published_shapes(net: str) -> dict[str, tuple[list[int], str]]:
    """name -> (shape, dtype) of `keys_<net>.json`, in the published state dict's order."""
    keys = json.loads((_KEYS / f"keys_{net}.json").read_text())["keys"]
    return {name: (entry["shape"], entry["dtype"]) for name, entry in keys.items()}


def meta_shapes(meta: dict[str, Any]) -> dict[str, tuple[list[int], str]]:
    """The same from a case's meta["state_dict"], whose entries are [*shape, dtype]."""
    return {name: (entry[:-1], entry[-1]) for name, entry in meta["state_dict"].items()}
