"""Training steps of the single-stage and transformer methods at the papers' sizes, with every loss switched on."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.inputs import CLASSES
from benchmarks.measure import Case, Thunk
from wsss.config.loading import load_run
from wsss.config.run import TrainClassifier
from wsss.data.batch import Batch
from wsss.methods.load import build_method
from wsss.training.optim import build_optimizer

BATCH = 2
AFTER_ALL_WARM_UPS = 10**6
METHODS = {
    "ToCo, ViT-B/16": ("toco", {"pretrained": False}),
    "AFA, MiT-B1": ("afa", {"checkpoint": None}),
    "ACR, hybrid ViT-B/16": ("acr", {"pretrained": False}),
}


def settings(preset: str, backbone: dict[str, object]) -> TrainClassifier:
    """The preset's, without pretrained weights."""
    section = {"preset": preset, "prepare_data": {"dataset": "voc"}, "train_classifier": {"backbone": backbone}}
    return load_run("step", {"step": section}).train_classifier


def step(chosen: TrainClassifier, device: str) -> Thunk:
    """Losses, gradients and the optimizer's step for a random batch of the paper's crop."""
    torch.manual_seed(0)
    model = build_method(chosen, [str(i) for i in range(CLASSES + 1)]).to(device).train()
    optimizer = build_optimizer(model, model.head_parameters(), chosen.training.optimizer)
    side = chosen.training.augment.crop
    labels = torch.zeros(BATCH, CLASSES)
    labels[range(BATCH), range(BATCH)] = 1
    batch = Batch(torch.randn(BATCH, 3, side, side), labels, torch.tensor([[0, side, 0, side]] * BATCH)).to(
        torch.device(device)
    )

    def run_step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = sum(model(batch, AFTER_ALL_WARM_UPS).values())
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run_step


def case(name: str, chosen: TrainClassifier) -> Case:
    side = chosen.training.augment.crop
    size = f"{BATCH}×{side}×{side}"
    return Case(f"training step, {name}", size, BATCH * side**2, None, partial(step, chosen))


def cases() -> list[Case]:
    return [case(name, settings(preset, backbone)) for name, (preset, backbone) in METHODS.items()]
