"""A GPU without a GPU: runs a project's commands in one process with tensors that claim to be on `cuda:0`.

    python tests/second_device.py FOLDER results/RUN/miou.csv …

FOLDER/config.yaml has `execution: {device: cuda:0, workers: 0}`. The tensors hold CPU data, so that values are real,
and refuse what a GPU's do: to mix with CPU tensors, to be indices of CPU tensors, to become numpy arrays.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ops = torch.ops.aten
INDEXED = (ops.index.Tensor, ops.index_put_.default, ops.index_put.default, ops._index_put_impl_.default)
move = torch.Tensor.to


class OnGPU(torch.Tensor):
    """A tensor whose device in Python is the GPU; C++ takes it for a CPU tensor, whose values `held` has."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnGPU:
        about = {"dtype": held.dtype, "device": held.device}
        if held.layout == torch.strided:
            about |= {"strides": held.stride(), "storage_offset": held.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), **about)

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, operation, _types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})

    def cpu(self) -> torch.Tensor:
        return Fetch.apply(self)

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        places = [*args, *kwargs.values()]
        places = [p.device if isinstance(p, torch.Tensor) else torch.device(p) for p in places if place(p)]
        args = [a.dtype if tensor(a) else a for a in args if tensor(a) or isinstance(a, torch.dtype)]
        kwargs = {name: value for name, value in kwargs.items() if not place(value)}
        here = Fetch.apply(self) if places and places[0].type == "cpu" else self
        return move(here, *args, **kwargs) if args or kwargs else here

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
        return move(torch.tensor(data, dtype=dtype or self.dtype), GPU)

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *_: Any, **__: Any) -> None:
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")

    __array__ = numpy

    def __deepcopy__(self, _memo: dict) -> OnGPU:
        copy = OnGPU(self.held.detach().clone()).requires_grad_(self.requires_grad)
        copy._is_param = getattr(self, "_is_param", False)
        return copy

    def __reduce_ex__(self, _protocol: int) -> tuple:
        return OnGPU, (self.held.detach(),)


class Fetch(torch.autograd.Function):
    """The values as a CPU tensor."""

    @staticmethod
    def forward(_ctx, given):
        return given.held.detach().clone()

    @staticmethod
    def backward(_ctx, gradient):
        return OnGPU(gradient)


class Emulation(TorchDispatchMode):
    """Tensors created or moved with the device `cuda:0` become `OnGPU`."""

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def tensor(given: Any) -> bool:
    return isinstance(given, torch.Tensor)


def place(given: Any) -> bool:
    return isinstance(given, str | torch.device | torch.Tensor)


def require_one_device(operation, args, on: list[bool]) -> None:
    """Raises RuntimeError for tensors that a GPU would not compute together. on: of each tensor of the arguments."""
    if operation in INDEXED:
        inside = isinstance(args[0], OnGPU)
        wrong = not inside and any(isinstance(index, OnGPU) for index in args[1])
        wrong |= len(args) > 2 and args[2].dim() > 0 and isinstance(args[2], OnGPU) != inside
    else:
        known = {isinstance(t, OnGPU) for t in tree_leaves(args) if tensor(t) and t.dim() > 0}
        wrong = len(known) > 1 or (known == {False} and any(on))
    if wrong and operation is not ops.copy_.default:
        shapes = [("cuda" if isinstance(t, OnGPU) else "cpu", *t.shape) for t in tree_leaves(args) if tensor(t)]
        raise RuntimeError(f"Expected all tensors to be on the same device, but {operation} got {shapes}")


def computed(operation, args, kwargs):
    """The result of an operation on the held values, on the device on which a GPU would have it."""
    on = [isinstance(t, OnGPU) for t in tree_leaves((args, kwargs)) if tensor(t)]
    asked = kwargs.get("device")
    if asked is None and not any(on):
        return operation(*args, **kwargs)
    if asked is None:
        require_one_device(operation, (*args, *kwargs.values()), on)
    if kwargs.get("pin_memory"):
        kwargs = kwargs | {"pin_memory": False}
    held = kwargs if asked is None or asked.type == "meta" else kwargs | {"device": CPU}
    result = operation(*tree_map(of_gpu, args), **tree_map(of_gpu, held))
    first = args[0] if args else None
    mixed = operation in (*INDEXED, ops.copy_.default)
    # With a GPU's tensor, C++ passes on the device that it takes it to have, the CPU.
    if (isinstance(first, OnGPU) if mixed else any(on)) or (asked is not None and asked.type == "cuda"):
        result = tree_map(lambda r: OnGPU(r) if tensor(r) and not isinstance(r, OnGPU) else r, result)
        return result if asked is not None else return_and_correct_aliasing(operation, args, kwargs, result)
    return result


def of_gpu(given: Any) -> Any:
    return given.held if isinstance(given, OnGPU) else given


def on_device(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and the like, which move what they have made."""

    def made(data: Any, *, device: Any = None, **about: Any) -> torch.Tensor:
        place = device or (GPU if isinstance(data, OnGPU) else CPU)
        return move(make(of_gpu(data), **about), torch.device(place))

    return made


def nothing() -> Callable[..., None]:
    return lambda *_, **__: None


def install() -> None:
    """Lets torch have a GPU, in this process and its threads."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.backends.cudnn.enabled = False
    torch.optim.Optimizer._accelerator_graph_capture_health_check = nothing()
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else torch.enable_grad()
    for name in ("_lazy_init", "set_device", "synchronize", "empty_cache", "manual_seed", "manual_seed_all"):
        setattr(torch.cuda, name, nothing())
    answers = {"is_available": True, "device_count": 1, "current_device": 0, "get_device_name": "emulated"}
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.cuda.is_bf16_supported = lambda *_, **__: True

    def to(self, *args, **kwargs):
        if args and isinstance(args[0], OnGPU):
            args = (GPU, args[0].dtype, *args[1:])
        return move(self, *args, **kwargs)

    torch.Tensor.to = to
    one_hot = torch.nn.functional.one_hot
    torch.nn.functional.one_hot = lambda given, *args: tree_map(
        OnGPU if isinstance(given, OnGPU) else lambda r: r, one_hot(of_gpu(given), *args)
    )
    for name in ("tensor", "as_tensor"):
        setattr(torch, name, on_device(getattr(torch, name)))
    begin = torch.utils.data.DataLoader.__init__
    torch.utils.data.DataLoader.__init__ = lambda *args, **about: begin(*args, **about | {"pin_memory": False})
    run = threading.Thread.run

    def run_emulated(thread: threading.Thread) -> None:
        with Emulation():
            run(thread)

    threading.Thread.run = run_emulated
    Emulation().__enter__()


def main() -> None:
    from jobs import Jobs

    project = Jobs(Path(sys.argv[1]), sys.argv[2:])
    install()
    for target in sys.argv[2:]:
        project.make(target)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
