"""Event files: each step once, however often a training was interrupted."""

from __future__ import annotations

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wsss.training.board import Board


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_means_of_every_stretch(tmp_path):
    board = Board(tmp_path, every=10)
    history = {"lr": [0.1] * 10, "cls": list(range(10))}
    board.update(history)
    history = {"lr": [0.1] * 25, "cls": list(range(25))}
    board.update(history)
    board.close()
    found = scalars(tmp_path)
    assert [step for step, _ in found["learning_rate"]] == [10, 20, 25]
    assert np.allclose([value for _, value in found["loss/cls"]], [4.5, 14.5, 22])


def test_a_resumed_training_writes_no_step_twice(tmp_path):
    first = Board(tmp_path, every=10)
    first.update({"lr": [0.1] * 30})
    first.close()
    resumed = Board(tmp_path, every=10)  # its checkpoint was of step 20
    for steps in (30, 40):
        resumed.update({"lr": [0.1] * steps})
    resumed.close()
    assert [step for step, _ in scalars(tmp_path)["learning_rate"]] == [10, 20, 30, 40]
    assert len(list(tmp_path.glob("events.*"))) == 1
