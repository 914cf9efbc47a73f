"""Every command answers --help and wrong arguments before it imports torch, which takes seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from wsss.cli.main import COMMANDS

CASES = {
    "--version": (["--version"], 0),
    "unknown command": (["predikt"], 2),
    **{f"{name} --help": ([name, "--help"], 0) for name in COMMANDS},
    **{f"{name} --unknown": ([name, "--unknown"], 2) for name in COMMANDS},
    "run, no photographs": (["run", "nowhere", "--labels", "labels.csv"], 2),
    "init, no photographs": (["init", "nowhere", "--labels", "labels.csv"], 2),
    "predict, no photographs": (["predict", "nowhere", "--model", "m", "--out", "masks"], 2),
    "predict, no model": (["predict", "a.png", "--model", "nowhere", "--out", "masks"], 2),
    "predict, no run": (["predict", "a.png", "--run", "nowhere", "--out", "masks"], 2),
    "predict, no such class": (["predict", "a.png", "--model", "m.safetensors", "--out", "masks", "--classes", "x"], 2),
    "predict, no such device": (["predict", "a.png", "--model", "m", "--out", "masks", "--device", "gpu"], 2),
    "export, no model": (["export", "--model", "nowhere", "--onnx", "a.onnx"], 2),
    "masks, no such device": (["masks", ".", "--sam", "nowhere", "--out", "m.h5", "--device", "gpu"], 2),
    "masks, no photographs": (["masks", "nowhere", "--sam", "nowhere", "--out", "m.h5"], 2),
    "masks, no folder": (["masks", "nowhere", "--out", "m.h5"], 2),
}

PROGRAM = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise SystemExit("imports torch")

sys.meta_path.insert(0, NoTorch())
del os.sched_getaffinity  # macOS has none
from wsss.cli.main import main

found = {}
for name, arguments in json.load(sys.stdin).items():
    sys.argv, out, err, code = ["wsss", *arguments], io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found[name] = code, out.getvalue(), err.getvalue()
os.write(1, json.dumps(found).encode())
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Case → exit status, stdout and stderr, all of one process that cannot import torch."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "a.png").touch()
    about = json.dumps({"kind": "segmentation", "settings": {}, "classes": ["background", "cat"]})
    header = json.dumps({"__metadata__": {"wsss": about}}).encode()
    (folder / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    arguments = json.dumps({name: words for name, (words, _) in CASES.items()})
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=folder, input=arguments, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_answers_without_torch(name, answers):
    code, out, err = answers[name]
    assert code == CASES[name][1], err
    assert "Traceback" not in err and (out if code == 0 else err)
    if name.endswith("--help"):
        assert f"usage: wsss {name.split()[0]} " in out and max(map(len, out.splitlines())) <= 80


INTERRUPTED = """
import os, signal, sys, weakref

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "wsss.cli.describe":
            short = type("Short", (), {})()
            self.kept = weakref.ref(short, lambda _: os.kill(os.getpid(), signal.SIGINT))  # its errors are ignored

sys.meta_path.insert(0, Interrupting())
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may run in the background
from wsss.cli.main import main

sys.argv = ["wsss", "describe"]
main()
"""


def test_an_interrupt_is_not_lost_in_an_import():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT and not done.stdout + done.stderr


WAITING = """
import os, sys
from wsss.cli.main import main

sys.argv = ["wsss", "describe"]
main()
os.write(2, f"{'torch' in sys.modules} {os.environ['OMP_WAIT_POLICY']}".encode())
"""


@pytest.mark.parametrize(("before", "after"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_before_torch_is_imported_waiting_threads_are_told_to_sleep(before, after):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | before
    command = [sys.executable, "-c", WAITING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == f"False {after}"
