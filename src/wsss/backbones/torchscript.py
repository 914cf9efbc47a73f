"""TorchScript archives, such as OpenAI's CLIP, read as tensors: `torch.jit.load` would run code that they hold."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

_TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")


def is_torchscript(archive: zipfile.ZipFile) -> bool:
    """Whether a ZIP archive is TorchScript."""
    return any(name.endswith("/constants.pkl") for name in archive.namelist())


def torchscript_tensors(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Name → tensor of every module of an archive.

    Raises:
        Exception: whatever pickle and torch raise for damaged data, and UnpicklingError for data that are no modules.
    """
    root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
    return dict(_named(_Unpickler(archive, root).load(), ""))


class _Module:
    """Any object of an archive: its attributes alone."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def _named(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _named(value, f"{prefix}{name}.")


def _tensor(values: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return values.as_strided(size, stride, offset)


def _first(value: Any, *_: Any) -> Any:
    return value


class _Unpickler(pickle.Unpickler):
    """Makes tensors, and objects without code of their own; refuses all else."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("collections", "OrderedDict"): OrderedDict,
        **{("torch", f"{old}Storage"): getattr(torch, new) for old, new in zip(_STORAGES, _TYPES, strict=True)},
    }

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self._values: Callable[[str, torch.dtype], Tensor] = cache(
            lambda key, kind: torch.frombuffer(bytearray(archive.read(f"{root}data/{key}")) or bytearray(8), dtype=kind)
        )

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Module
        if module == "torch.jit._pickle":  # lists, and marks of types
            return _first
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a network")
        return self._KNOWN[module, name]

    def persistent_load(self, saved: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        _, kind, key, _, _ = saved
        return self._values(key, kind)
