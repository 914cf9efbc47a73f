"""No damage to a file that the product reads is a traceback, other data, or more memory than the file is worth."""

from __future__ import annotations

import os
import socket
import tracemalloc
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from readers import READERS
from wsss.runtime.ending import plain_ending

SLOW = int(os.environ.get("WSSS_FUZZ", "100"))
"""Damages to each file in the slow test; 2000 take half an hour."""

TOKENS = (b'"', b",", b"[", b"]", b"{}", b"\n", b"\xff\xfe", b"\0", b"null", b"-1", b"1e999", b";")
TOKENS = (*TOKENS, b"NaN", b"'", b"\xe4", b"0x10", b"999999999999", b"<a>", b"&x;", b"true")


def damaged(data: bytes, rng: np.random.Generator, *, text: bool) -> bytes:
    """A bit flipped, or the end cut off; in text also a word put in, or a few bytes taken out."""
    spoilt = bytearray(data)
    kind, at = rng.random(), int(rng.integers(len(data)))
    if kind < (0.3 if text else 0.8):
        spoilt[at] ^= 1 << int(rng.integers(8))
    elif kind < (0.5 if text else 1):
        del spoilt[at:]
    elif kind < 0.8:
        spoilt[at:at] = TOKENS[int(rng.integers(len(TOKENS)))]
    else:
        del spoilt[at : at + int(rng.integers(1, 20))]
    return bytes(spoilt)


def outcome(read, path) -> tuple[str | None, Any, int]:
    """The error's line or nothing, what was read, and the most bytes held meanwhile."""
    tracemalloc.start()
    try:
        with plain_ending(), warnings.catch_warnings(action="ignore"):
            return None, read(path), tracemalloc.get_traced_memory()[1]
    except SystemExit as end:
        assert end.code == 2
        return str(end.__context__), None, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def attack(name, folder, count, seed, monkeypatch):
    """Reads a file as it is, then damaged in `count` ways."""
    reader = READERS[name]
    monkeypatch.chdir(folder)
    path = reader.write(folder)
    data = path.read_bytes()
    outcome(reader.read, path)  # imports what it needs
    problem, honest, worth = outcome(reader.read, path)
    assert problem is None, problem
    rng = np.random.default_rng(seed)
    for number in range(count):
        spoilt = damaged(data, rng, text=reader.text)
        path.write_bytes(spoilt)
        problem, found, memory = outcome(reader.read, path)
        if memory > 4 * worth + reader.slack:  # a reader needs it each time; what the process does besides, once
            memory = outcome(reader.read, path)[2]
        what = f"damage {number} of seed {seed}: {spoilt[:300] if reader.text else len(spoilt)}"
        assert memory <= 4 * worth + reader.slack, f"{what}: {memory} bytes"
        if problem is None:
            assert not reader.sealed or found == honest, f"{what}: read as other data"
        else:
            assert not reader.named or path.name in problem, f"{what}: the file is not named: {problem}"


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_as_it_was_or_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    attack(name, tmp_path, 8, 0, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", READERS)
def test_many_damages_to_each_file(name, tmp_path, monkeypatch, capsys):
    attack(name, tmp_path, SLOW, 1, monkeypatch)


def other(kind: str, path: Path) -> None:
    """Something else in the place of a file."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made, chdir(path.parent):
            made.bind(path.name)
    else:
        path.symlink_to(path.name)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "loop"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_told_and_not_waited_for(name, kind, tmp_path, monkeypatch, capsys):
    reader = READERS[name]
    monkeypatch.chdir(tmp_path)
    path = reader.write(tmp_path)
    if path.name == "run.json":  # by which its run is found
        pytest.skip("no run")
    other(kind, path)
    problem, _, memory = outcome(reader.read, path)
    assert memory <= reader.slack + (1 << 23)
    assert problem is None or ("\n" not in problem and (path.name in problem or not reader.named))
