"""Several processes, and several parts of a batch, train as one does."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from shared_training import RECIPES, run_all, write_images
from torch import nn

from wsss.data.loading import StepSampler
from wsss.training.loop import Trainer
from wsss.training.session import recompute_activations, synchronise_batch_norm

SCRIPT = Path(__file__).with_name("shared_training.py")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """torchrun gives each process one thread, so the run that is compared with them has one too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    run_all(images, out)
    return out


@pytest.fixture(scope="module")
def two_processes(images, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(SCRIPT), str(images), str(out)], check=True, timeout=280)
    return out


def assert_same(first: Path, second: Path) -> None:
    a, b = (load_file(folder / "weights.safetensors") for folder in (first, second))
    assert max((a[name].double() - b[name].double()).abs().max().item() for name in a) < 1e-5
    a, b = (pd.read_csv(folder / "history.csv") for folder in (first, second))
    assert len(a) == 5 and (a - b).abs().max(axis=None) < 1e-5


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_with_half_a_batch_train_as_one_with_the_whole(alone, two_processes, name):
    assert_same(two_processes / name, alone / name)


@pytest.mark.parametrize("name", ["cam", "seam"])
def test_a_batch_in_two_parts_trains_as_in_one(images, alone, tmp_path, name):
    from shared_training import run

    run(name, images, tmp_path, accumulate=2)
    assert_same(tmp_path, alone / name)


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (1, 4), (3, 2), (6, 2)])
def test_shares_of_a_step_are_its_samples_and_keep_their_order(parts, processes):
    steps = [list(StepSampler(2, 4, 12, parts, processes, rank)) for rank in range(processes)]
    assert all(len(own) == 2 * parts and len({len(batch) for batch in own}) == 1 for own in steps)
    in_order = [number for batches in zip(*steps, strict=True) for batch in batches for number in batch]
    assert in_order == list(range(24, 48)) and max(Counter(in_order).values()) == 1


def test_a_batch_that_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match=r"batch_size 10 cannot be cut into 2 .*accumulate.* × 3 .*processes"):
        StepSampler(0, 1, 10, parts=2, processes=3)


def test_memory_that_runs_out_says_what_to_set(tmp_path):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD([{"params": model.parameters(), "peak_lr": 0.1}], 0.1)

    def losses(_batch, _step):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    settings = {"schedule": lambda step: 1.0, "steps": 1, "identity": "a", "rng_seed": 0, "device": torch.device("cpu")}
    trainer = Trainer(model, losses, optimizer, state=tmp_path, batch_size=12, accumulate=2, **settings)
    with pytest.raises(ValueError, match=r"does not hold 6 image.*accumulate: 3 \(a step keeps its 12 images\)"):
        trainer.fit(lambda first: iter([None, None]))


def test_batch_norm_with_an_activation_keeps_it_and_frozen_batch_norm_stays():
    from wsss.backbones.timm import TimmBackbone

    torch.manual_seed(0)
    backbone = TimmBackbone("test_efficientnet")
    images = torch.randn(2, 3, 64, 64)
    before = backbone.eval()(images)
    synchronise_batch_norm(backbone)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in backbone.modules())
    synchronise_batch_norm(backbone.train())
    assert any(isinstance(module, nn.SyncBatchNorm) for module in backbone.modules())
    assert torch.equal(backbone.eval()(images), before)


def test_recomputed_activations_change_no_gradient_and_are_refused_where_they_would():
    from wsss.backbones.timm import TimmBackbone
    from wsss.backbones.vit import ViTBackbone

    torch.manual_seed(0)
    backbone = ViTBackbone("test_vit", options={"img_size": 64})
    images = torch.randn(2, 3, 64, 64)

    def gradients() -> list[torch.Tensor]:
        backbone.zero_grad()
        backbone(images).square().mean().backward()
        return [p.grad for p in backbone.parameters() if p.grad is not None]

    before = gradients()
    recompute_activations(backbone)
    assert all(map(torch.equal, before, gradients()))
    with pytest.raises(ValueError, match="recompute_activations does not work for this network: BatchNorm"):
        recompute_activations(TimmBackbone("test_resnet"))
