"""Cells of CSV files, and names in Markdown: text that would act is written so that it is only read.

In CSV, text that a spreadsheet would evaluate as a formula has a leading apostrophe.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_ACTS = re.compile(r"'*[=+\-@\t\r]")
_HIDDEN = re.compile(r"'+[=+\-@\t\r]")


def escaped(cell: Any) -> Any:
    """The cell, with a leading apostrophe if a spreadsheet would evaluate it, or if it already looks escaped.

    Numbers, also as text, stay unchanged; `unescaped` restores every cell.
    """
    if not isinstance(cell, str) or not _ACTS.match(cell) or (cell[0] != "'" and _is_number(cell)):
        return cell
    return f"'{cell}"


def unescaped(cell: Any) -> Any:
    """The inverse of `escaped`."""
    return cell[1:] if isinstance(cell, str) and _HIDDEN.match(cell) else cell


def markdown(name: str) -> str:
    """The name in Markdown, with a backslash before what would be a table's cell, a tag, a link or emphasis."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", name)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text) is not None


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the header first, as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([escaped(cell) for cell in row] for row in rows)
    return text.getvalue()


def frame_text(frame: pd.DataFrame, digits: int = 4) -> str:
    """A pandas table as the text of a CSV file, without its index. digits: decimals of a float."""
    safe = _mapped(frame, escaped)
    return safe.to_csv(index=False, float_format=f"%.{digits}f", lineterminator="\n")


def unescaped_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table that `frame_text` wrote."""
    return _mapped(frame, unescaped)


def _mapped(frame: pd.DataFrame, change: Any) -> pd.DataFrame:
    texts = [name for name in frame.columns if frame[name].dtype.kind not in "biuf"]
    changed = frame.assign(**{name: frame[name].map(change) for name in texts}) if texts else frame
    return changed.rename(columns=change)
