"""torchvision and timm without torch's compiler, which both name while they are imported.

Importing `torch._dynamo` costs every process that builds a network more than two seconds, as long as torch itself.
torchvision takes one function from it, for RoI-align; timm marks a class that is not to be compiled. Optimizers still
import it with their first step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_USERS = ("torchvision", "timm")


class LeanImports(MetaPathFinder):
    """Finds torchvision and timm where Python does, and has a stand-in for the compiler while they are imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _USERS or _COMPILER in sys.modules:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_lean(module: ModuleType) -> None:
                with _stand_in():
                    execute(module)

            spec.loader.exec_module = execute_lean
        return spec


def import_lean() -> None:
    """From here on torchvision and timm are imported without the compiler. Who compiles later gets it as ever."""
    if not any(isinstance(finder, LeanImports) for finder in sys.meta_path):
        sys.meta_path.insert(0, LeanImports())


@contextmanager
def _stand_in() -> Iterator[None]:
    package, utils = ModuleType(_COMPILER), ModuleType(f"{_COMPILER}.utils")
    package.__path__ = []
    package.disable = _as_it_is
    utils.is_compile_supported = _is_compile_supported
    modules = {module.__name__: module for module in (package, utils)}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    """Of `torch.compiler.disable`: what is not compiled need not be left out of it."""
    return function if function is not None else _as_it_is


def _is_compile_supported(device: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device)
