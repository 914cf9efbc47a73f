"""Lazy import of torch's compiler, which takes two seconds of CPU and is used by no stage.

timm, torchvision and torch's optimizers import `torch._dynamo` for `disable` and `graph_break`, which exclude code from
compilation, and for the query `is_compile_supported`. A stub provides these three. Access to any other attribute or
submodule of `torch._dynamo` replaces the stub by the real module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME, UTILS = "torch._dynamo", "torch._dynamo.utils"


def postpone_compiler() -> None:
    """Installs the stub in `sys.modules`, unless the real module is imported already."""
    if NAME not in sys.modules:
        sys.modules[NAME], sys.modules[UTILS] = _Compiler(NAME), _Utils(UTILS)
        sys.meta_path.insert(0, _Submodules())


def _real(name: str) -> ModuleType:
    """Replaces all stubs by the real modules; returns the one with a name."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Submodules)]
    for stand_in in (NAME, UTILS):
        if isinstance(sys.modules.get(stand_in), _Compiler | _Utils):
            del sys.modules[stand_in]
    return import_module(name)


def _attribute(module: str, name: str) -> Any:
    """An attribute of the real module, except dunder names, which `inspect` looks up in all modules."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_real(module), name)


class _Compiler(ModuleType):
    """Stub of `torch._dynamo`."""

    __path__: Sequence[str] = ()  # type: ignore[assignment]

    @staticmethod
    def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **_about: Any) -> Callable[..., Any]:
        """The function unchanged; without one, a decorator that returns functions unchanged."""
        return fn if fn is not None else lambda function: function

    @staticmethod
    def graph_break(*_about: object) -> None:
        """Does nothing, as nothing is compiled."""

    def __getattr__(self, name: str) -> Any:
        return _attribute(NAME, name)


class _Utils(ModuleType):
    """Stub of `torch._dynamo.utils`."""

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        """The real function's answer."""
        return _real(UTILS).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        return _attribute(UTILS, name)


class _Submodules(MetaPathFinder, Loader):
    """Finds the real submodules of `torch._dynamo`, after the import of the real `torch._dynamo`."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{NAME}."):
            return None
        _real(NAME)
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute: the real module has run. Restores its own specification."""
        module.__spec__ = module.__spec__.loader_state
