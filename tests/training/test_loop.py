"""The training loop: however a training dies, it ends with the same bits."""

from __future__ import annotations

import itertools
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from wsss.config.sections import Augmentation, Optimizer, Schedule, Training
from wsss.data.augment import Augment
from wsss.data.dataset import Record
from wsss.data.loading import Samples, batches
from wsss.runtime.process import Terminated
from wsss.training.loop import Trainer
from wsss.training.session import Place, train

STEPS = 12


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    records = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
        labels = (rng.random(3) < 0.5).astype(np.float32)
        records.append(Record(str(i), path, None, labels, "train", False, (20, 24)))
    augment = Augment(
        Augmentation(crop=16, scale=[0.8, 1.2], colour_jitter=[0.3, 0.3, 0.3, 0.1]), (0.5,) * 3, (0.2,) * 3
    )
    return Samples(records, augment, rng_seed=5)


def make_trainer(state, **changes) -> Trainer:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(784, 3))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    optimizer.param_groups[0]["peak_lr"] = 1e-2

    def losses(item, _step):
        batch, _ = item
        return {"cls": nn.functional.multilabel_soft_margin_loss(model(batch.images), batch.labels)}

    arguments = {
        "model": model,
        "losses": losses,
        "optimizer": optimizer,
        "schedule": lambda step: 1 - step / STEPS,
        "steps": STEPS,
        "state": state,
        "identity": "a",
        "rng_seed": 3,
        "device": torch.device("cpu"),
    }
    return Trainer(**(arguments | changes))


def weights(trainer) -> list[torch.Tensor]:
    return list(trainer.model.state_dict().values())


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def source(samples, workers=0):
    return lambda first: batches(samples, first, STEPS, 4, workers)


@pytest.fixture
def undisturbed(samples, tmp_path):
    trainer = make_trainer(tmp_path / "undisturbed" / "state")
    trainer.fit(source(samples))
    return trainer


@pytest.mark.parametrize("death", ["signal", "crash"])
def test_a_killed_training_ends_with_the_same_bits(samples, tmp_path, undisturbed, death):
    def dying(first):
        for n, item in enumerate(source(samples)(first), first):
            if n == 5:
                if death == "crash":
                    raise RuntimeError("power cut")
                os.kill(os.getpid(), signal.SIGTERM)
            yield item

    first = make_trainer(tmp_path / "state", checkpoint_seconds=0.0)
    with pytest.raises((Terminated, RuntimeError)):
        first.fit(dying)
    second = make_trainer(tmp_path / "state")
    second.fit(source(samples))
    assert first.step < STEPS and same(second, undisturbed)
    assert second.history == undisturbed.history


def test_loader_processes_change_nothing(samples, tmp_path, undisturbed):
    trainer = make_trainer(tmp_path / "state")
    trainer.fit(source(samples, workers=2))
    assert same(trainer, undisturbed)


def test_a_finished_training_is_not_repeated(samples, tmp_path, undisturbed):
    again = make_trainer(tmp_path / "undisturbed" / "state")
    again.fit(lambda first: pytest.fail("batches were asked for"))
    assert same(again, undisturbed)


def test_stopping_early_takes_the_network_of_that_step_and_keeps_the_planned_schedule(samples, tmp_path):
    """AFA tests its network of step 18 000 of 20 000: `stop_after` cuts a training, it does not shorten its plan."""
    losses = lambda model, item, _step: {"cls": model(item[0].images).square().mean()}  # noqa: E731
    planned = Training(epochs=2, batch_size=2, optimizer=Optimizer(lr=0.1), schedule=Schedule(name="poly", power=1.0))

    def trained(stop_after):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 3))
        place = Place(tmp_path / str(stop_after), torch.device("cpu"), 0, 60, identity="a")
        place.state.mkdir(parents=True)
        settings = planned.model_copy(update={"stop_after": stop_after})
        train(model, [], losses, samples, settings, 3, place)
        return model.state_dict(), pd.read_csv(place.out / "history.csv")

    whole, history = trained(None)
    (weights, cut), (late, _) = trained(3), trained(100)
    assert len(history) == 7 and len(cut) == 3  # 7 images, 2 epochs, batches of 2
    pd.testing.assert_frame_equal(cut, history[:3])
    assert cut["lr"].tolist() == pytest.approx([0.1, 0.1 * 6 / 7, 0.1 * 5 / 7])
    assert not torch.equal(weights["0.weight"], whole["0.weight"])
    assert torch.equal(late["0.weight"], whole["0.weight"])  # later than the last step: the last


def test_state_of_another_identity_is_not_resumed(samples, tmp_path, undisturbed):
    other = make_trainer(tmp_path / "undisturbed" / "state", identity="b", rng_seed=4)
    other.fit(source(samples))
    assert not same(other, undisturbed)


def test_what_is_frozen_is_in_no_checkpoint(samples, tmp_path):
    def trainer(state):
        made = make_trainer(state)
        made.model[0].requires_grad_(False)
        return made

    whole, cut = trainer(tmp_path / "whole"), trainer(tmp_path / "cut")
    whole.fit(source(samples))
    cut.fit(lambda first: itertools.islice(source(samples)(first), 4))
    again = trainer(tmp_path / "cut")
    again.fit(source(samples))
    assert same(again, whole)
    kept = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["model"]
    assert {name.split(".")[0] for name in kept} == {"1", "4"}


def test_a_checkpoint_of_another_frozen_network_is_set_aside(samples, tmp_path, caplog):
    def trainer(factor):
        made = make_trainer(tmp_path / "cut")
        made.model[0].requires_grad_(False).weight.mul_(factor)
        return made

    trainer(1).fit(lambda first: itertools.islice(source(samples)(first), 4))
    with caplog.at_level("WARNING", "wsss"):
        trainer(2).fit(source(samples))
    assert "on a frozen network of digest" in caplog.text
    assert (tmp_path / "cut" / "state.damaged").exists()


def test_a_loss_that_is_not_finite_stops_with_advice(samples, tmp_path):
    trainer = make_trainer(tmp_path / "state")
    trainer.losses = lambda item, step: {"cls": trainer.model(item[0].images).mean() * float("nan")}
    with pytest.raises(ValueError, match="loss 'cls' is not finite near step 10: lower the learning rate"):
        trainer.fit(source(samples))


def test_every_epoch_shows_every_image_once(samples):
    count = len(samples.records)
    epochs = [[samples.index(epoch * count + i) for i in range(count)] for epoch in range(3)]
    assert all(sorted(order) == list(range(count)) for order in epochs)
    assert epochs[0] != epochs[1]


def test_advice_against_a_full_memory_leaves_batch_norm_two_images(tmp_path):
    with_norm = make_trainer(tmp_path, batch_size=8, accumulate=4)
    assert "accumulate" not in with_norm._memory_advice()
    assert "training.accumulate: 4" in make_trainer(tmp_path, batch_size=8, accumulate=2)._memory_advice()
    plain = make_trainer(tmp_path, batch_size=8, accumulate=4, model=nn.Linear(1, 1))
    assert "training.accumulate: 8" in plain._memory_advice()
