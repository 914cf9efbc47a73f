"""Class names in the cells of one column of a spreadsheet: separated by signs or spaces, or written as lists."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from pathlib import Path

from wsss.data.names import clean_name
from wsss.data.sheet import ACCEPTED

SIGNS = r"[,;|，、；｜،؛\n\r\v\u2028]"
"""Separators of names, with those of Asian and Arabic keyboards, and line ends within a cell; where a table has none,
spaces separate."""

_ANY_LIST = r"\[.*\]|\(.*\)|\{.*\}"
_QUOTED = re.compile(r"""(["'])((?:(?!\1).)+)\1|[“„«‘]([^“”»’]+)[”“»’]""")

_CALL = re.compile(
    r"^[A-Za-z_][\w.]*\(([\[({].*[\])}])(?:,\s*\w+=.*)?\)$|^(?:array|list|tuple|set|frozenset)\(\)$", re.DOTALL
)
"""A list in a cell as the `repr` of Python, numpy or pandas writes it: `array(['cat'], dtype=object)`."""


def without_call(text: str) -> str:
    """The list that a cell holds, where it is written as `array(…)` or the like."""
    return _CALL.sub(r"\1", text)


def name_sets(texts: list[str], *, alone: bool) -> list[frozenset[str]]:
    """The class names in each cell of a column. alone: a cell without signs is one name, with any spaces."""
    form = _ANY_LIST if _are_lists(texts) else r"\[.*\]"
    lists = [_are_lists([text], form) for text in texts]
    plain = (text for text, is_list in zip(texts, lists, strict=True) if not is_list)
    pattern = SIGNS if alone or any(lists) or any(re.search(SIGNS, text) for text in plain) else r"\s+"
    found = zip(texts, lists, strict=True)
    names = (_listed(text[1:-1]) if is_list else map(_unquoted, re.split(pattern, text)) for text, is_list in found)
    return [frozenset(map(clean_name, cell)) - {""} for cell in names]


def _unquoted(name: str) -> str:
    """A name without quotation marks around it."""
    found = _QUOTED.fullmatch(name.strip())
    return (found[2] or found[3]) if found else name


def _are_lists(texts: list[str], form: str = _ANY_LIST) -> bool:
    """Whether the cells hold lists as Python, numpy or JSON write them."""
    filled = [text for text in texts if text]
    return bool(filled) and all(re.fullmatch(form, text, re.DOTALL) for text in filled)


def _listed(text: str) -> list[str]:
    """The names in a list as Python, numpy or JSON write it: quoted, or separated by commas."""
    quoted = re.findall(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", text, re.DOTALL)
    return list(map(_literal, quoted)) if quoted else text.split(",")


def _literal(quoted: str) -> str:
    """The text of a literal of JSON or Python, e.g. `"K\\u00e4fer"`."""
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            return read(quoted)
    return quoted[1:-1]


def refuse_vectors(path: Path, texts: list[str]) -> None:
    """Raises ValueError for cells such as `[0, 1, 0]` or `{'cat': 0}`, which flag classes with or without names."""
    if any(re.match(r"""[\s\[(]*\{\s*["'].*?["']\s*:""", text) for text in texts):
        raise ValueError(f"{path}: its cells hold mappings; {ACCEPTED}")
    cells = [re.findall(r"[^\s,;|()\[\]{}]+", text) for text in texts if text]
    count = len(cells[0]) if cells else 0
    if count > 1 and all(len(cell) == count and all(re.fullmatch(r"[01](\.0?)?", v) for v in cell) for cell in cells):
        raise ValueError(f"{path}: its cells hold {count} times 0 or 1, for classes without names; {ACCEPTED}")
    filled = [text for text in texts if text]
    same = len(set(map(len, filled))) == 1 and all(re.fullmatch(r"[01]{2,}", text) for text in filled)
    if same and any(text.startswith("0") for text in filled):
        raise ValueError(f"{path}: its cells hold rows of 0 and 1, for classes without names; {ACCEPTED}")


def spaces_remark(path: Path, texts: list[str]) -> list[str]:
    """A remark on cells that may be one name with spaces: those of several words, none of which is alone in a cell."""
    if _are_lists(texts) or any(re.search(SIGNS, text) for text in texts):
        return []
    alone = set(texts)
    doubtful = [text for text in dict.fromkeys(texts) if len(text.split()) > 1 and not alone & set(text.split())]
    if not doubtful:
        return []
    return [
        f"{path}: spaces separate its names, so that '{doubtful[0]}' is {len(doubtful[0].split())} classes; where "
        f"a name has spaces, end it with a semicolon: '{doubtful[0]};'"
    ]
