"""Reading of small JSON, YAML and CSV files of results; a damaged file is an error of one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wsss.runtime.cells import unescaped_frame

if TYPE_CHECKING:
    import pandas as pd

AGAIN = "delete its folder to make it again"
_NOT_READ = (ValueError, RecursionError, yaml.YAMLError)


def read_record(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The mapping in a JSON file, or in a YAML file (.yaml, .yml). keys: required keys → their types.

    Raises:
        ValueError: the file is damaged, or lacks a key.
        OSError: the file cannot be opened.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except _NOT_READ as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged ({reason}); {AGAIN}") from None
    return require_keys(path, {} if content is None else content, **keys)


def require_keys(where: Path | str, content: Any, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The content, if it is a mapping with these keys of these types; else raises ValueError naming `where`."""
    if not isinstance(content, dict):
        raise ValueError(f"{where}: damaged (holds no mapping); {AGAIN}")
    for name, kind in keys.items():
        if name not in content or not isinstance(content[name], kind):
            found = f"'{name}' is {content[name]!r:.40}" if name in content else f"there is no '{name}'"
            raise ValueError(f"{where}: damaged ({found}); {AGAIN}")
    return content


@contextmanager
def in_file(path: Path, what: str) -> Iterator[None]:
    """Context of reading another tool's file, in which every error becomes one line that names the file.

    what: the expected kind of file, e.g. `a file of labelme`.

    Raises:
        ValueError: on any error but FileNotFoundError; one whose message begins with the path passes unchanged.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # parsers and decoders raise many types
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: not {what} ({text})") from None


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """The CSV as a table. columns: those required.

    Raises:
        ValueError: the file is damaged, or lacks a column.
        OSError: the file cannot be opened.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({str(error).partition(chr(10))[0]}); {AGAIN}") from None
    if missing := next((name for name in columns if name not in table), None):
        raise ValueError(f"{path}: damaged (there is no column '{missing}'); {AGAIN}")
    return unescaped_frame(table)
