"""Programs in copies of a process: they behave as in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny import environment
from wsss.runtime.start import SERVED, share_imports

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="copies are made on Linux only")

PROBE = """
import json, os, signal, sys, time
what, *rest = sys.argv[1:]
if what == "tell":
    about = {"arguments": rest, "folder": os.getcwd(), "word": os.environ.get("WORD"), "parent": os.getppid(),
             "stdin": sys.stdin.read(), "torch": "torch" in sys.modules, "name": __name__}
    print(json.dumps(about))
    print("an error", file=sys.stderr)
elif what == "exit":
    sys.exit(int(rest[0]))
elif what == "raise":
    raise ValueError("no")
elif what == "die":
    os.kill(os.getpid(), int(rest[0]))
elif what == "wait":
    def end(number, _frame):
        sys.exit(40 + number)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def about(tmp_path_factory):
    """Folder and environment of the programs; the process behind them ends with a process of the fixture's."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SERVED, "")
        share_imports()
        name = os.environ[SERVED].partition(":")[2]
    snakemake = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    base = environment()
    paths = f"{folder}{os.pathsep}{base.get('PYTHONPATH', '')}"
    yield folder, base | {SERVED: f"{snakemake.pid}:{name}", "PYTHONPATH": paths}
    snakemake.communicate(b"\n")
    wait_until(lambda: not servers(name))


def servers(name: str) -> list[int]:
    """Processes that listen under a name."""
    sockets = Path("/proc/net/unix").read_text(encoding="utf-8")
    return [1 for line in sockets.splitlines() if line.endswith(f"@wsss-{name}")]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "wsss.runtime.start", "probe", *words]


def run(about: tuple[Path, dict[str, str]], *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    folder, variables = about
    (folder / "here").mkdir(exist_ok=True)
    return subprocess.run(
        command(*words),
        cwd=folder / "here",
        env=variables | changes,
        capture_output=True,
        text=True,
        input="given",
        check=False,
    )


def waiting(about: tuple[Path, dict[str, str]]) -> tuple[subprocess.Popen[str], int]:
    """A program that waits, and the process that runs it."""
    process = subprocess.Popen(command("wait"), cwd=about[0], env=about[1], stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_copy_has_the_programs_arguments_folder_environment_and_streams(about):
    alone = run(about, "tell", "a b", "--c", WORD="ü", **{SERVED: ""})
    copies = [run(about, "tell", "a b", "--c", WORD="ü") for _ in range(2)]
    wanted, *found = (json.loads(done.stdout) for done in (alone, *copies))
    assert wanted.pop("torch") is False and all(told.pop("torch") for told in found)
    assert wanted.pop("parent") == os.getpid() and len({told.pop("parent") for told in found} - {os.getpid()}) == 1
    assert found == [wanted, wanted] and wanted["stdin"] == "given" and wanted["name"] == "__main__"
    assert {done.stderr for done in (alone, *copies)} == {"an error\n"}


@pytest.mark.parametrize(
    ("words", "status"),
    [(["exit", "0"], 0), (["exit", "7"], 7), (["raise"], 1), (["die", "9"], -9), (["die", "11"], -11)],
)
def test_a_program_ends_as_its_copy(about, words, status):
    done = run(about, *words)
    assert done.returncode == status and ("ValueError: no" in done.stderr) == (words == ["raise"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_copy(about, number):
    process, _ = waiting(about)
    process.send_signal(number)
    assert process.wait(20) == 40 + number


def test_a_killed_program_takes_its_copy_along(about):
    process, copy = waiting(about)
    other, _ = waiting(about)
    process.kill()
    process.wait()
    wait_until(lambda: gone(copy))
    assert other.poll() is None
    other.terminate()
    assert other.wait(20) == 40 + signal.SIGTERM


def test_programs_of_a_killed_server_end_and_later_ones_get_another(about):
    process, copy = waiting(about)
    os.kill(json.loads(run(about, "tell").stdout)["parent"], signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    wait_until(lambda: gone(copy))
    assert json.loads(run(about, "tell").stdout)["torch"]
