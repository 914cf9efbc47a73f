"""Training steps of the single-stage and transformer methods at the papers' sizes, with every loss switched on."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.inputs import CLASSES
from benchmarks.measure import Case, Thunk
from wsss.config import load_run
from wsss.methods.base import Batch
from wsss.models import build_method
from wsss.training.optim import build_optimizer

BATCH = 2
AFTER_ALL_WARM_UPS = 10**6
METHODS = {
    "ToCo, ViT-B/16": ("toco", {"pretrained": False}),
    "AFA, MiT-B1": ("afa", {"checkpoint": None}),
    "ACR, hybrid ViT-B/16": ("acr", {"pretrained": False}),
}


def step(preset: str, backbone: dict[str, object], device: str) -> Thunk:
    """Losses, gradients and the optimizer's step for a random batch of the preset's crop."""
    section = {"preset": preset, "prepare_data": {"dataset": "voc"}, "train_classifier": {"backbone": backbone}}
    run = load_run("step", {"step": section})
    torch.manual_seed(0)
    model = build_method(run.train_classifier, CLASSES).to(device).train()
    optimizer = build_optimizer(model, model.head_parameters(), run.train_classifier.training.optimizer)
    side = run.train_classifier.training.augment.crop
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


def cases() -> list[Case]:
    sizes = {"toco": 448, "afa": 320, "acr": 384}
    return [
        Case(
            f"training step, {name}",
            f"{BATCH}×{sizes[preset]}×{sizes[preset]}",
            BATCH * sizes[preset] ** 2,
            None,
            partial(step, preset, backbone),
        )
        for name, (preset, backbone) in METHODS.items()
    ]
