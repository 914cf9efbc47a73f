"""timm and torchvision without torch's compiler, and the compiler after them."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(program: str) -> str:
    """What a fresh Python prints."""
    made = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.mark.parametrize("first", ["timm", "torchvision", "wsss.backbones.timm", "wsss.stages.infer_cam"])
def test_networks_compute_without_the_compiler_and_compile_with_it(first):
    program = f"""
        import importlib, sys
        import wsss
        importlib.import_module("{first}")
        import timm, torch, torchvision
        network = timm.create_model("test_resnet", num_classes=2)
        network(torch.zeros(2, 3, 32, 32)).sum().backward()
        boxes = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 1, 1, 5, 5]]), 2)
        assert bool((boxes == 1).all())
        print("torch._dynamo" in sys.modules)
        compiled = torch.compile(lambda x: x + 1, backend="eager")
        print(int(compiled(torch.ones(()))), sys.modules["torch._dynamo"].__file__ is not None)
    """
    assert run(program).split() == ["False", "2", "True"]
