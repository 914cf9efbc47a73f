"""What a classifier's training tells before its first step."""

from __future__ import annotations

from types import SimpleNamespace

from wsss.config.stages import TrainClassifier
from wsss.methods import training

NAMES = ["background", "cat"]


def settings_of(backbone, crop=64):
    given = {"name": backbone, "pretrained": False}
    section = {"method": {"name": "cam"}, "backbone": given, "training": {"augment": {"crop": crop}}}
    return TrainClassifier.model_validate(section)


def data(*sizes):
    records = [SimpleNamespace(size=size) for size in sizes]
    return SimpleNamespace(class_names=NAMES, records=records, split=lambda _: records)


def test_phases_that_never_begin_are_told(monkeypatch, caplog):
    monkeypatch.setattr(training, "train", lambda *_: None)
    network = SimpleNamespace(mean=(0.5,) * 3, std=(0.2,) * 3)
    model = SimpleNamespace(backbone=network, begins={"warmup_steps": 2, "refined_steps": 2000}, head_parameters=list)
    training._train(model, settings_of("test_resnet"), data(*[(64, 64)] * 16), None)
    assert "method.refined_steps is 2000, and the last step 4: what begins there never acts" in caplog.text
    assert "method.warmup_steps" not in caplog.text
