"""GPUs are held by one job each; lock files stand for them here."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from wsss.runtime.devices import claim, claim_device, resolve_amp

HOLD = """
import sys, time
from pathlib import Path
from wsss.runtime.devices import claim
print(claim([Path(p) for p in sys.argv[2:]], int(sys.argv[1])), flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold():
    """Starts a process that claims GPUs, and returns it with what it got."""
    started = []

    def start(count, files):
        command = [sys.executable, "-c", HOLD, str(count), *map(str, files)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_jobs_get_different_gpus_and_one_that_dies_leaves_its_own(tmp_path, hold):
    files = [tmp_path / f"gpu{index}.lock" for index in range(3)]
    first, got = hold(2, files)
    assert got == "[0, 1]"
    assert hold(1, files)[1] == "[2]"
    first.kill()
    start = time.monotonic()
    assert claim(files, 2, wait_seconds=0.05) == [0, 1] and time.monotonic() - start < 30


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert claim_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch sees no GPU"):
        claim_device("cuda")


@pytest.mark.parametrize("native", [True, False])
def test_automatic_precision_is_bf16_only_where_the_processor_has_it(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    assert resolve_amp("auto", torch.device("cpu")) == ("bf16" if native else "off")
    assert [resolve_amp(amp, torch.device("cpu")) for amp in ("off", "bf16", "fp16")] == ["off", "bf16", "fp16"]
