"""Networks of model files, which may be a stranger's: built without memory before they are built with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from wsss.backbones.checkpoints import require_fit

Network = TypeVar("Network", bound=nn.Module)
SPARE = 1000
"""Parameters that a network may have for a moment beside four times those of its file, e.g. heads that it drops."""


def rebuilt(build: Callable[[], Network], tensors: Mapping[str, Tensor], path: Path) -> Network:
    """The network that `build` makes, with the tensors of a model file, as `read_model` checked them.

    Raises:
        ValueError: the settings in the file build no network, or not that of the tensors; names the file.
    """
    try:
        with torch.device("meta"), _at_most(4 * len(tensors) + SPARE):
            require_fit(build(), tensors, str(path))
        model = build()
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    model.load_state_dict(dict(tensors), strict=False)  # as on the meta device, where they fit
    return model


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Context in which modules register at most `count` parameters."""
    left = count

    def counted(_module: nn.Module, _name: str, _parameter: Tensor) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"what it says of its network has more than {count} tensors, and the file has not")

    handle = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()
