"""torch's compiler stays away until something needs it, and then it is the real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import wsss
import timm, torch, torchvision
import wsss.backbones.timm
network = timm.create_model("test_resnet")
optimizer = torch.optim.SGD(network.parameters(), 0.1)
network(torch.zeros(2, 3, 32, 32)).sum().backward()
optimizer.step(), optimizer.zero_grad(), optimizer.load_state_dict(optimizer.state_dict())
boxes = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 1, 1, 5, 5]]), 2)
assert bool((boxes == 1).all())
assert not {"torch._inductor", "torch._dynamo.eval_frame"} & set(sys.modules), "the compiler was imported"
from torch._dynamo.utils import counters
from torch._dynamo.trace_rules import lookup
from torch._dynamo.debug_utils import clone_inputs
assert sys.modules[lookup.__module__].lookup is lookup and torch._dynamo.utils.counters is counters
assert torch._dynamo.__file__ and torch._dynamo.debug_utils.__spec__.origin
assert not any(type(finder).__module__.startswith("wsss") for finder in sys.meta_path)
assert torch.compile(lambda x: 2 * x, backend="eager")(torch.ones(1)).item() == 2 and counters["frames"]["ok"] == 1
"""


@pytest.mark.slow
def test_networks_are_trained_without_the_compiler_and_compile_with_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
