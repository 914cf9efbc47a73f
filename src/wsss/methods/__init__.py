"""Localisation methods: one paper, one file, registered by decorator.

`config.method: seam` loads `wsss.methods.seam.network` and looks up what it registered, so that a new method
is one new file (and a preset), and a stage that uses one method imports no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from wsss.methods.base import Method

_REGISTRY: dict[str, type[Method]] = {}


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Class decorator: makes a `Method` available as `method: <name>`."""

    def add(cls: type[Method]) -> type[Method]:
        _REGISTRY[name] = cls
        return cls

    return add


def get_method(name: str) -> type[Method]:
    """The class registered under `name`, from the module `wsss.methods.<name>`."""
    importlib.import_module(f"wsss.methods.{name}")
    return _REGISTRY[name]
