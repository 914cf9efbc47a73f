"""Learning-rate schedules."""

from __future__ import annotations

import pytest
import torch

from wsss.training.schedules import SCHEDULES, make_schedule


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_lies_in_0_1_and_freezes_after_its_last_step(name):
    schedule = make_schedule(name, 40, **({"warmup_steps": 7} if name in ("warmup_poly", "cosine") else {}))
    factors = [schedule(step) for step in range(60)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    assert factors[40:] == [factors[39]] * 20


def test_poly_starts_at_one_and_falls_with_its_power():
    schedule = make_schedule("poly", 100, power=2.0)
    assert schedule(0) == 1.0
    assert schedule(50) == pytest.approx(0.25, abs=1e-15)


def test_warmup_poly_jumps_at_the_end_of_the_warmup():
    schedule = make_schedule("warmup_poly", 100, power=1.0, warmup_steps=40, warmup_ratio=0.1)
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(39) == pytest.approx(1 - 0.9 / 40)
    assert schedule(40) == pytest.approx(0.6)


def test_a_run_shorter_than_its_warmup_never_leaves_it():
    schedule = make_schedule("warmup_poly", 10, warmup_steps=20, warmup_ratio=0.0)
    assert [schedule(step) for step in (0, 5, 9, 50)] == pytest.approx([0.0, 0.25, 0.45, 0.45])


def test_one_cycle_is_torchs():
    steps = 30
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=False)
    schedule = make_schedule("one_cycle", steps)
    for step in range(steps):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12), step
        optimizer.step()
        if step + 1 < steps:
            reference.step()


def test_cosine_is_torchs_after_its_warmup():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    schedule = make_schedule("cosine", 25, warmup_steps=5, final_ratio=0.1)
    for step in range(5, 25):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "linear", "total_steps": 5}, "unknown learning-rate schedule 'linear'.*poly"),
        ({"name": "poly", "total_steps": 0}, "total_steps is 0"),
        ({"name": "poly", "total_steps": 5, "warmup_steps": 1}, r"does not take \['warmup_steps'\].*power"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(**arguments)
