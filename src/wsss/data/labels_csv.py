"""Image-level labels from a spreadsheet saved as CSV: one row an image.

Two shapes are told apart by the header and the values:
- names: a column of class names, separated by commas, semicolons, bars or spaces. Where any row uses one of the
  first three, spaces belong to the names (`dining table, cat`); else they separate names.
- flags: one column a class, with 0/1 (or no/yes, false/true, empty/x).

The first column (or one named image, file, filename, path) names the image; an optional column `split` holds train
or val. Columns may be separated by comma, semicolon or tab (Excel writes what its country uses); UTF-8 with
or without a byte-order mark, and UTF-16 with one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IMAGE_COLUMNS = ("image", "file", "filename", "path", "image_id")
NAME_COLUMNS = ("labels", "label", "classes", "class", "tags")
SPLITS = ("train", "val")
MAX_CLASSES = 254
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "": False, "x": True}
_FLAGS |= {"no": False, "yes": True, "false": False, "true": True, "n": False, "y": True}


@dataclass(frozen=True)
class Row:
    """line: of the file, 1-based; image: as written; names: classes; split: train, val or empty."""

    line: int
    image: str
    names: frozenset[str]
    split: str


@dataclass(frozen=True)
class LabelTable:
    """classes: in the order of the columns, or alphabetical; shape: `names` or `flags`."""

    path: Path
    shape: str
    classes: list[str]
    rows: list[Row]


def read_labels(path: Path) -> LabelTable:
    """The table of a CSV file.

    Raises:
        ValueError: not such a table; names the file, the line, what was found and what is accepted.
    """
    header, lines = _cells(path)
    image = _column(header, IMAGE_COLUMNS) or 0
    split = _column(header, ("split",))
    others = [i for i in range(len(header)) if i not in (image, split)]
    if not others:
        raise ValueError(f"{path}: the header has no column of labels; found {', '.join(header)}; {_ACCEPTED}")
    named = _column(header, NAME_COLUMNS)
    if named is None and len(others) == 1 and not all(_is_flag(cells, others[0]) for _, cells in lines):
        named = others[0]
    if named is not None:
        return _names_table(path, header, lines, image, named, split)
    return _flags_table(path, header, lines, image, others, split)


_ACCEPTED = "accepted: columns image,labels with class names, or image and one 0/1 column a class"


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the rows that are not empty with their line numbers."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; a CSV of labels is needed ({_ACCEPTED})")
    text = _decode(path)
    separator = None
    hint = re.match(r"sep=(.)\r?\n", text)
    if hint:  # Excel's own first line
        separator, text = hint[1], text[hint.end() :]
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = separator or max(",;\t", key=_outside_quotes(first).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    shift = 1 if hint else 0
    try:
        rows = [(reader.line_num + shift, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num + shift}: not a CSV row ({error})") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if len(rows) < 2:
        raise ValueError(f"{path}: no rows below a header; {_ACCEPTED}")
    header = rows[0][1]
    while header and not header[-1]:  # trailing separators of spreadsheets
        header.pop()
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled or "" in header:
        raise ValueError(f"{path}: the header names a column {'twice: ' + doubled[0] if doubled else 'with nothing'}")
    return header, rows[1:]


def _decode(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path} line {line}: not UTF-8; in Excel, save as 'CSV UTF-8 (comma delimited)'") from None


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _column(header: list[str], names: Sequence[str]) -> int | None:
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)


def _is_flag(cells: list[str], column: int) -> bool:
    return column >= len(cells) or cells[column].lower() in _FLAGS


def _split_of(path: Path, line: int, cells: list[str], column: int | None) -> str:
    value = cells[column].lower() if column is not None and column < len(cells) else ""
    if value and value not in SPLITS:
        raise ValueError(f"{path} line {line}: split '{value}'; accepted: train, val, or nothing")
    return value


def _image_of(path: Path, line: int, cells: list[str], column: int) -> str:
    if column >= len(cells) or not cells[column]:
        raise ValueError(f"{path} line {line}: the row names no image")
    return cells[column]


def _names_table(
    path: Path,
    header: list[str],
    lines: list[tuple[int, list[str]]],
    image: int,
    named: int,
    split: int | None,
) -> LabelTable:
    last = named == len(header) - 1  # unquoted commas in the last column spill over into further cells
    texts = []
    for line, cells in lines:
        if len(cells) > len(header) and any(cells[len(header) :]) and not last:
            raise ValueError(f"{path} line {line}: {len(cells)} cells for {len(header)} columns; quote the class names")
        texts.append(",".join(filter(None, cells[named:] if last else cells[named : named + 1])))
    strong = any(re.search(r"[,;|]", text) for text in texts)
    pattern = r"[,;|]" if strong else r"\s+"
    rows = []
    for (line, cells), text in zip(lines, texts, strict=True):
        names = frozenset(" ".join(name.split()) for name in re.split(pattern, text) if name.strip())
        rows.append(Row(line, _image_of(path, line, cells, image), names, _split_of(path, line, cells, split)))
    classes = sorted({name for row in rows for name in row.names})
    _check_separators(path, rows, classes)
    return LabelTable(path, "names", _checked(path, classes), rows)


def _check_separators(path: Path, rows: list[Row], classes: list[str]) -> None:
    """A class made of other classes' names is two classes without a comma."""
    known = set(classes)
    for row in rows:
        for name in sorted(row.names):
            words = name.split(" ")
            if len(words) > 1 and set(words) <= known:
                raise ValueError(
                    f"{path} line {row.line}: '{name}' may be one class or {len(words)}; "
                    "separate the names by the same sign in every row"
                )


def _flags_table(
    path: Path,
    header: list[str],
    lines: list[tuple[int, list[str]]],
    image: int,
    columns: list[int],
    split: int | None,
) -> LabelTable:
    rows = []
    for line, cells in lines:
        names = set()
        for column in columns:
            value = cells[column].lower() if column < len(cells) else ""
            if value not in _FLAGS:
                raise ValueError(
                    f"{path} line {line}: '{cells[column]}' in column '{header[column]}'; accepted: 0 or 1, "
                    "or a single column 'labels' with class names"
                )
            if _FLAGS[value]:
                names.add(header[column])
        rows.append(
            Row(line, _image_of(path, line, cells, image), frozenset(names), _split_of(path, line, cells, split))
        )
    return LabelTable(path, "flags", _checked(path, [header[c] for c in columns]), rows)


def _checked(path: Path, classes: list[str]) -> list[str]:
    if not classes:
        raise ValueError(f"{path}: no row names a class")
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"{path}: {len(classes)} classes, e.g. {', '.join(classes[:3])}; accepted: 1 to {MAX_CLASSES}")
    wrong = next((name for name in classes if name.lower() == "background" or ";" in name), None)
    if wrong:
        raise ValueError(f"{path}: class '{wrong}'; the background is implied, and names are free of ';'")
    folded: dict[str, str] = {}
    for name in classes:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(f"{path}: classes '{other}' and '{name}' differ in case only; write them alike")
    return classes
