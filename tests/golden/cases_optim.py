"""Learning-rate schedules driving torch's own optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from compare import Adapter, Arrays, Tolerance

from wsss.training.schedules import make_schedule


def _run(optimizer, schedule, parameters, grads) -> tuple[np.ndarray, np.ndarray]:
    """Learning rates used and parameters after each step; gradients are given, (steps, groups, D)."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    rates, values = [], []
    for step_grads in torch.from_numpy(grads):
        for parameter, grad in zip(parameters, step_grads, strict=True):
            parameter.grad = grad.clone()
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
        values.append(torch.stack([p.detach() for p in parameters]).numpy().copy())
    return np.array(rates, np.float64), np.stack(values)


def _parameters(rows: np.ndarray) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(row.clone()) for row in torch.from_numpy(rows)]


def poly_optimizer(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    p = meta["params"]
    schedule = make_schedule("poly", p["max_step"], power=p["power"])
    parameters = _parameters(inputs["params0"])
    groups = [
        {"params": [q], "lr": p["lr"] * mult, "momentum": momentum, "weight_decay": decay}
        for q, mult, momentum, decay in zip(
            parameters,
            p["group_lr_mult"],
            p["actual_sgd_momentum"],
            p["actual_sgd_weight_decay"],
            strict=True,
        )
    ]
    lr, params = _run(torch.optim.SGD(groups), schedule, parameters, inputs["grads"])
    single = _parameters(inputs["params0"][:1])
    optimizer = torch.optim.SGD(single, lr=p["lr"], **p["default_group_actual"])
    _, default = _run(optimizer, schedule, single, inputs["grads"][:, :1])
    return {"lr": lr, "params": params, "params_default": default[:, 0]}


def poly_warmup_adamw(inputs: Arrays, meta: dict[str, Any]) -> Arrays:
    p = meta["params"]
    schedule = make_schedule(
        "warmup_poly",
        p["max_iter"],
        power=p["power"],
        warmup_steps=p["warmup_iter"],
        warmup_ratio=p["warmup_ratio"],
    )
    parameters = _parameters(inputs["params0"])
    groups = [
        {"params": [q], "lr": lr, "weight_decay": decay}
        for q, lr, decay in zip(parameters, p["group_lr"], p["group_wd"], strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, betas=tuple(p["betas"]), eps=p["eps"])
    lr, params = _run(optimizer, schedule, parameters, inputs["grads"])
    return {"lr": lr, "params": params}


CASES: dict[str, Adapter] = {"poly_optimizer": poly_optimizer, "poly_warmup_adamw": poly_warmup_adamw}
TOLERANCES: dict[str, Tolerance] = {
    name: Tolerance(rtol=1e-5, atol=1e-6, rel_l2=1e-12, rel_l2_names=("lr",)) for name in CASES
}
