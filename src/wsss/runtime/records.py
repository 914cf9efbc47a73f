"""Reading of small JSON, YAML and CSV files of results; a damaged file is an error of one line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wsss.runtime.cells import unescaped_frame
from wsss.runtime.files import regular, write_atomically

if TYPE_CHECKING:
    import pandas as pd

AGAIN = "delete its folder to make it again"
TEXTS = frozenset({"stage", "split", "threshold_source", "class", "hint"})
"""Columns of the tables of results that hold text."""
LARGEST = 1e18
"""Largest amount of a number in a result."""
SEALS = "tables.json"
"""Name of the file with the digests of the tables and records beside it: one that ends at a line looks whole."""
_OPEN = (SEALS, "manifest.json", "versions.json")
"""Records of a stage that are written again, or have a digest of their own."""
_NOT_READ = (ValueError, RecursionError, yaml.YAMLError)


def read_record(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The mapping in a JSON file, or in a YAML file (.yaml, .yml). keys: required keys → their types.

    Raises:
        ValueError: the file is damaged, or lacks a key.
        OSError: the file cannot be opened.
    """
    try:
        data = regular(path).read_bytes()
        require_sealed(path, data)
        content = yaml.safe_load(data.decode()) if path.suffix in (".yaml", ".yml") else json.loads(data.decode())
    except _NOT_READ as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: damaged ({reason}); {AGAIN}") from None
    return require_keys(path, content, **keys)


def require_keys(where: Path | str, content: Any, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The content, if it is a mapping with these keys of these types; else raises ValueError naming `where`.

    A number is finite, and neither true nor false.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where}: damaged (holds no mapping); {AGAIN}")
    for name, kind in keys.items():
        if name not in content or not is_of(content[name], kind):
            found = f"'{name}' is {content[name]!r:.40}" if name in content else f"there is no '{name}'"
            raise ValueError(f"{where}: damaged ({found}); {AGAIN}")
    return content


def is_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type, and a finite number if it is one."""
    if isinstance(value, int | float) and not (-LARGEST <= value <= LARGEST and not isinstance(value, bool)):
        return False
    return isinstance(value, kind)


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
        text = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        if isinstance(error, TypeError | AttributeError | IndexError):
            text = f"a value is of another kind than expected: {text}"
        raise ValueError(f"{path}: not {what} ({text})") from None


def seal_tables(folder: Path) -> None:
    """Stores the digests of a folder's CSV and JSON files, if it has any."""
    files = sorted(path for path in folder.glob("*.*") if path.suffix in (".csv", ".json") and path.name not in _OPEN)
    digests = {path.name: _digest(path.read_bytes()) for path in files}
    if digests:
        write_atomically(folder / SEALS, json.dumps(digests, indent=1))


def require_sealed(path: Path, content: bytes) -> None:
    """Raises ValueError if a table or record is not what its stage wrote, as far as that is stored."""
    seals, found = path.with_name(SEALS), _digest(content)
    if path.name not in _OPEN and seals.is_file() and read_record(seals).get(path.name, found) != found:
        raise ValueError(f"it is not what was written, by {SEALS}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def read_table(path: Path, *columns: str) -> pd.DataFrame:
    """The CSV that a stage wrote as a table. columns: those required.

    Columns named in `TEXTS` hold text; every other one finite numbers, or nothing.

    Raises:
        ValueError: the file is damaged, or lacks a column.
        OSError: the file cannot be opened.
    """
    import pandas as pd

    try:
        content = regular(path).read_bytes()
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
        _require_whole(text)
        require_sealed(path, content)
        # a class may have the name of what pandas takes for nothing, or for a number
        table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXTS, str))
        if missing := next((name for name in columns if name not in table), None):
            raise ValueError(f"there is no column '{missing}'")
        table = table.assign(**{name: _numbers(table[name]) for name in table.columns if name not in TEXTS})
    except (ValueError, RecursionError, csv.Error) as error:
        reason = str(error).partition("\n")[0].removeprefix(f"{path}: ")
        raise ValueError(f"{path}: damaged ({reason}); {AGAIN}") from None
    return unescaped_frame(table)


def _require_whole(text: str) -> None:
    """Raises ValueError unless every line of a CSV has an end, and as many cells as the first."""
    if not text.endswith("\n"):
        raise ValueError("it ends within a line" if text else "it is empty")
    reader = csv.reader(io.StringIO(text), strict=True)
    width = len(next(reader))
    for row in reader:
        if len(row) != width:
            raise ValueError(f"line {reader.line_num} has {len(row)} cells, the first line {width}")


def _numbers(column: pd.Series) -> pd.Series:
    """A column as numbers; NaN where it holds nothing."""
    import pandas as pd

    found = pd.to_numeric(column, errors="coerce")
    wrong = column.notna() & ~found.abs().le(LARGEST)
    if wrong.any() or column.dtype.kind == "b":
        bad = column[wrong].iloc[0] if wrong.any() else column.iloc[0]
        raise ValueError(f"column '{column.name}' holds {bad!r:.40}, no number")
    return found
