"""Batch normalisation folded into the convolution before it, for inference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

M = TypeVar("M", bound=nn.Module)
TOLERANCE = 1e-4
"""Largest change of an output, relative to the largest output, that rounding may cause."""


def fastest(model: M, device: torch.device, run: Callable[[M, Tensor], Tensor]) -> M:
    """The model on `device` in eval mode, with the memory format and folded BatchNorm for the fastest `run`.

    run: (model, images (B, 3, H, W)) → output.
    """
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    example = torch.linspace(0, 99, 3 * 128 * 128, device=device).sin().view(1, 3, 128, 128)
    return fold_batch_norm(model, lambda network: run(network, example))


@torch.no_grad()
def fold_batch_norm(model: M, run: Callable[[M], Tensor]) -> M:
    """A copy of `model`, in eval mode, with batch normalisations folded into the convolutions before them.

    run: applies a model to an example, in which the pairs are found. If the outputs then differ by more than rounding
    (e.g. because a convolution's output has other users), the model itself is returned.
    """
    folded = copy.deepcopy(model).eval()
    for name, conv, norm in _pairs(folded, run):
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        folded.set_submodule(name, _what_else(norm))
    before, after = run(model), run(folded)
    return folded if (after - before).abs().max() <= TOLERANCE * before.abs().max() else model


def _pairs(model: M, run: Callable[[M], Tensor]) -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """(name, convolution, normalisation) of each normalisation whose input is the output of a convolution run once."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    found: list[tuple[str, nn.Conv2d, nn.BatchNorm2d]] = []
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda conv, _, out: outputs.append((out, conv))))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats and module.affine:
            hooks.append(
                module.register_forward_pre_hook(
                    lambda norm, given, name=name: found.extend(
                        (name, conv, norm) for out, conv in outputs if out is given[0]
                    )
                )
            )
    run(model)
    for hook in hooks:
        hook.remove()
    calls = [conv for _, conv in outputs]
    names = [name for name, _, _ in found]
    return [pair for pair in found if calls.count(pair[1]) == 1 and names.count(pair[0]) == 1]


def _what_else(norm: nn.BatchNorm2d) -> nn.Module:
    """The dropout and activation that timm's normalisations include."""
    rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
    return nn.Sequential(*rest) if rest else nn.Identity()
