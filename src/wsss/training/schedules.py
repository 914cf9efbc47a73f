"""Learning-rate schedules: pure functions from a step to a multiplier of the base learning rate.

Steps count from 0. From `total_steps` on, every schedule keeps the value of its last step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial


def constant(step: int, total_steps: int) -> float:
    """1 at every step."""
    return 1.0


def poly(step: int, total_steps: int, *, power: float = 0.9) -> float:
    """(1 − step/total)^power."""
    return (1.0 - min(step, total_steps - 1) / total_steps) ** power


def warmup_poly(
    step: int,
    total_steps: int,
    *,
    power: float = 0.9,
    warmup_steps: int = 1500,
    warmup_ratio: float = 1e-6,
) -> float:
    """Linear from `warmup_ratio` towards 1, then `poly` of the step since 0.

    The decay counts from step 0, so that the factor drops from almost 1 to (1 − warmup/total)^power after the
    warm-up, as in the training of ToCo (Ru 2023) and AFA (Ru 2022).
    """
    step = min(step, total_steps - 1)
    if step < warmup_steps:
        return 1.0 - (1.0 - step / warmup_steps) * (1.0 - warmup_ratio)
    return poly(step, total_steps, power=power)


def cosine(
    step: int,
    total_steps: int,
    *,
    warmup_steps: int = 0,
    warmup_ratio: float = 0.0,
    final_ratio: float = 0.0,
) -> float:
    """Linear warm-up from `warmup_ratio` to 1, then half a cosine down to `final_ratio` (Loshchilov 2017)."""
    step = min(step, total_steps - 1)
    if step < warmup_steps:
        return warmup_ratio + (1.0 - warmup_ratio) * step / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return _half_cosine(1.0, final_ratio, progress)


def one_cycle(
    step: int,
    total_steps: int,
    *,
    rise: float = 0.3,
    initial_ratio: float = 0.04,
    final_ratio: float = 4e-6,
) -> float:
    """Half a cosine up from `initial_ratio` to 1, then another down to `final_ratio` (Smith 2018).

    rise: share of the steps with rising rate. The defaults are those of torch's OneCycleLR, whose last step
    reaches `final_ratio`.
    """
    step = min(step, total_steps - 1)
    peak = max(rise * total_steps - 1.0, 0.0)
    if step < peak:
        return _half_cosine(initial_ratio, 1.0, step / peak)
    return _half_cosine(1.0, final_ratio, (step - peak) / max(total_steps - 1 - peak, 1.0))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "poly": poly,
    "warmup_poly": warmup_poly,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def make_schedule(name: str, total_steps: int, **params: float) -> Callable[[int], float]:
    """The schedule `name` for `total_steps`, as a function of the step.

    Raises:
        ValueError: unknown name, unknown parameter, or `total_steps` < 1.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown learning-rate schedule '{name}'; choose one of {sorted(SCHEDULES)}")
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}; a schedule needs at least 1")
    function = SCHEDULES[name]
    accepted = list(inspect.signature(function).parameters)[2:]
    if unknown := sorted(set(params) - set(accepted)):
        raise ValueError(f"schedule '{name}' does not take {unknown}; it takes {accepted}")
    return partial(function, total_steps=total_steps, **params)
