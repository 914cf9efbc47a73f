"""Files of data and compiled code beside the modules of a package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_NO_DATA = (".py", ".pyi", ".pyc", ".md", ".rst", ".typed")
_COMPILED, _TO_COMPILE = (".so", ".pyd"), (".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".pyx", ".pxd", ".rs")


def data_beside(folders: Iterable[Path]) -> list[Path]:
    """The files in folders of a package, and in their folders that are no packages, but Python code and texts.

    Sources of compiled code are left out where the compiled code lies beside them.
    """
    found = {path for folder in folders for path in _below(folder)}
    compiled = {path.parent for path in found if path.suffix in _COMPILED}
    return sorted(path for path in found if not (path.suffix in _TO_COMPILE and path.parent in compiled))


def _below(folder: Path, *, beside: bool = True) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        there = [entry for entry in entries if not entry.name.startswith((".", "__pycache__"))]
    if beside or not any(entry.name.endswith(".py") for entry in there):
        for entry in there:
            if entry.is_dir():
                yield from _below(Path(entry.path), beside=False)
            elif not entry.name.endswith(_NO_DATA):
                yield Path(entry.path)
