"""Optimizers with the papers' parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from wsss.config.sections import Optimizer


def parameter_groups(model: nn.Module, head: Iterable[nn.Parameter], settings: Optimizer) -> list[dict[str, object]]:
    """Parameter groups pretrained/new × weights/biases, each with its learning rate and weight decay.

    If `decay_biases` is off, all one-dimensional parameters, those of norm layers included, count as biases.
    Frozen parameters are left out.
    """
    new = {id(p) for p in head}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in new, parameter.ndim <= 1), []).append(parameter)
    return [
        {
            "params": members,
            "lr": settings.lr
            * (settings.head_lr_multiplier if is_new else 1)
            * (settings.bias_lr_multiplier if is_bias else 1),
            "weight_decay": 0.0 if is_bias and not settings.decay_biases else settings.weight_decay,
        }
        for (is_new, is_bias), members in sorted(groups.items())
    ]


def build_optimizer(model: nn.Module, head: Iterable[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW over `parameter_groups`; each group keeps its peak rate in `peak_lr`."""
    groups = parameter_groups(model, head, settings)
    if settings.name == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, settings.lr, momentum=settings.momentum)
    else:
        optimizer = torch.optim.AdamW(groups, settings.lr)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def minimise(
    network: nn.Module, loss: Callable[[int], Tensor], *, steps: int, lr: float, weight_decay: float
) -> list[float]:
    """Minimises `loss(step)` by AdamW, with a learning rate that falls linearly to 0; returns the loss of every step.

    For networks that train in seconds, without checkpoints.
    """
    losses = []
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return torch.stack(losses).tolist()
