"""Standard streams that are closed, full, or of an encoding that has not every letter."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wsss
from wsss.runtime.ending import plain_ending

SAY = (
    "from wsss.runtime.ending import plain_ending\n"
    "import sys\n"
    "with plain_ending('x'):\n"
    "    print('mäß 猫 \\udcff')\n"
    "    file = open('made.txt', 'w')\n"
    "    print(file.fileno() > 2, file=file)\n"
    "    if 'fail' in sys.argv: raise ValueError('猫')\n"
)
ENDS = {
    "ASCII": ("PYTHONIOENCODING=ascii {}", 0, b"m\\xe4\\xdf \\u732b \\udcff\n", b""),
    "Latin 1": ("PYTHONIOENCODING=latin-1 {}", 0, b"m\xe4\xdf \\u732b \\udcff\n", b""),
    "no locale": ("LC_ALL=C {}", 0, "mäß 猫 \\udcff\n".encode(), b""),
    "closed": ("{} >&-", 0, b"", b""),
    "all closed": ("{} <&- >&- 2>&-", 0, b"", b""),
    "full": ("{} >/dev/full", 2, b"", b"[x] error: no space left on device\n"),
    "a pipe that ended": ("{} | true; exit ${{PIPESTATUS[0]}}", None, b"", b""),
    "an error, in ASCII": ("PYTHONIOENCODING=ascii {} fail >&-", 2, b"", b"[x] error: \\u732b\n"),
    "an error without a place to go": ("{} fail >&- 2>&-", 2, b"", b""),
}


@pytest.mark.parametrize("case", ENDS)
def test_every_stream_is_written_to_or_told(case, tmp_path):
    line, code, out, err = ENDS[case]
    (tmp_path / "say.py").write_text(SAY, encoding="utf-8")
    command = line.format(f"{sys.executable} say.py")
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, env=os.environ, check=False)
    assert ended.returncode in ((0, 128 + signal.SIGPIPE) if code is None else (code,)), ended.stderr
    assert (ended.stdout, ended.stderr) == (out, err)
    if code == 0:
        assert (tmp_path / "made.txt").read_text() == "True\n"


def test_a_pipe_that_ended_is_the_same_to_richs_console():
    code = "from rich.console import Console\nfrom wsss.runtime.ending import plain_ending\n"
    code += "with plain_ending('x'):\n    console = Console()\n    for _ in range(9999): console.print('y' * 99)\n"
    command = f'{sys.executable} -c "$0" | true; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command, code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


def test_every_text_file_is_read_and_written_as_utf_8():
    unsaid = re.compile(r"\.(?:read_text\((?:errors[^)]*)?\)|open\(\"[rwa]\"[^)]*\))")
    found = []
    for path in Path(wsss.__file__).parent.rglob("*.py"):
        calls = unsaid.findall(path.read_text(encoding="utf-8"))
        found += [(path.name, call) for call in calls if "encoding=" not in call]
    assert not found


LESS = "; smaller crops, batches, scales or images need less"
SYSTEM = {
    "x/y: no such file or directory": FileNotFoundError(errno.ENOENT, "No such file or directory", "x/y"),
    "a → b: permission denied": PermissionError(errno.EACCES, "Permission denied", "a", None, "b"),
    "the current folder is gone": FileNotFoundError(errno.ENOENT, "No such file or directory"),
    "cannot lock": OSError("cannot lock"),
    f"more memory is needed than there is{LESS}": MemoryError(),
    f"more memory is needed than there is (7.28 TiB at once){LESS}": MemoryError("Unable to allocate 7.28 TiB for x"),
    f"more memory is needed than there is (30 bytes at once){LESS}": RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 30 bytes. Error code 12"
    ),
}


@pytest.mark.parametrize("told", SYSTEM)
def test_errors_of_the_system_are_told_in_plain_words(told, capsys):
    with pytest.raises(SystemExit), plain_ending("x"):
        raise SYSTEM[told]
    assert capsys.readouterr().err == f"[x] error: {told}\n"
