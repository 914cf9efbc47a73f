"""Every stage is killed once; the same command again ends with the same bytes. `make soak` does more of it."""

from __future__ import annotations

from itertools import islice

import pytest
from soak import SIGNALS, VICTIMS, draw_kills, finished_run, stages, try_kill

NAMES = ["prepare_data", "train_classifier", "infer_cam"]


def test_six_rounds_are_every_stage_with_every_signal_to_each_victim():
    kills = list(islice(draw_kills(NAMES, seed=3), 6 * len(NAMES)))
    combinations = {(kill.stage, kill.victim, kill.signal) for kill in kills}
    assert combinations == {(name, victim, s) for name in NAMES for victim in VICTIMS for s in SIGNALS}
    assert {kill.stage for kill in kills[: len(NAMES)]} == set(NAMES)
    assert kills == list(islice(draw_kills(NAMES, seed=3), len(kills)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_stage_ends_with_the_same_bytes(tmp_path):
    source = finished_run(tmp_path / "undisturbed")
    names = stages(source)
    kills = islice(draw_kills(names, seed=0), len(names))
    outcomes = [try_kill(source, kill, tmp_path / kill.stage) for kill in kills]
    assert not {str(outcome.kill): outcome.problem for outcome in outcomes if outcome.problem}
