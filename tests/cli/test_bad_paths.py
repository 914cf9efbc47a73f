"""Every command, found by its parser, given a path that leads to nothing useful: one line, exit status 2."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from wsss.cli.main import COMMANDS, main

WRITTEN = ("out", "onnx", "config", "tables")
"""Arguments that name what is made."""
LISTS = ("describe", "reproduce", "status")
"""What answers without any file: with what there is, or how to begin."""
BAD = {
    "missing": lambda path: None,
    "a file": lambda path: path.write_text("neither a folder nor data\n"),
    "an empty folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a damaged store": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)),
}


class Found(Exception):
    """Carries a command's parser out of it."""


def parser_of(command: str) -> argparse.ArgumentParser:
    def stop(parser, *_):
        raise Found(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [command])
        with pytest.raises(Found) as found:
            import_module(f"wsss.cli.{command}").main()
    return found.value.args[0]


def lines_of(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The shortest command lines that a parser accepts: one for each way to meet its required groups."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from lines_of(below, (*before, name))
            return
    needed = tuple(word for action in parser._actions if action.required for word in words(action))
    ways = [[words(a) for a in group._group_actions] for group in parser._mutually_exclusive_groups if group.required]
    yield from ((*before, *needed, *way) for way in (ways[0] if ways else [()]))


def words(action: argparse.Action) -> tuple[str, ...]:
    name = action.option_strings[-1:]
    return (*name, "NEW" if action.dest in WRITTEN else "BAD")


LINES = [(command, *line) for command in COMMANDS if command not in LISTS for line in lines_of(parser_of(command))]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_useless_path_is_one_line(line, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    BAD[kind](tmp_path / "BAD")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["wsss", *line])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    assert end.value.code == 2, shown.out
    assert shown.err.count("error: ") == 1 and len(shown.err.splitlines()) == 1, shown.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", BAD)
def test_status_says_how_to_begin_or_that_a_file_has_no_results(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    BAD[kind](tmp_path / "BAD")
    monkeypatch.setattr(sys, "argv", ["wsss", "status", "BAD"])
    if os.path.lexists("BAD") and not Path("BAD").is_dir():
        with pytest.raises(SystemExit, match="2"):
            main()
        assert re.search("BAD: is a file; accepted is the folder of results|loop.*BAD", capsys.readouterr().err)
    else:
        main()
        assert "No stage has begun under BAD" in capsys.readouterr().out
