"""Image-level labels from a spreadsheet saved as CSV: one row per image, or per label.

Two forms are recognised by the header and the values:
- names: a column of class names, separated by commas, semicolons, bars or spaces, or written as lists
  (`['cat', 'dog']`). If any row uses one of the first three, spaces belong to the names (`dining table, cat`);
  otherwise they separate names. If no row has more than one name, an image may have several rows.
- flags: one column per class, with 0/1 (or no/yes, false/true, empty/x).

The first column (or one named image, file, filename, path …) names the image; an optional column `split` contains
train or val. Columns of other text are ignored, with a remark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsss.data.names import checked_classes, clean_name
from wsss.data.sheet import ACCEPTED, FLAGS, NAME_COLUMNS, Sheet, read_sheet

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Row:
    """line: of the file, 1-based; image: as written; names: classes; split: train, val or empty."""

    line: int
    image: str
    names: frozenset[str]
    split: str


@dataclass(frozen=True)
class LabelTable:
    """classes: in the order of the columns, or alphabetical; shape: `names` or `flags`.

    remarks: for the user, on how the file was read.
    """

    path: Path
    shape: str
    classes: list[str]
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)


def read_labels(path: Path) -> LabelTable:
    """The table of a CSV file.

    Raises:
        ValueError: not such a table; names the file, the line, and the values found and accepted.
    """
    sheet = read_sheet(path)
    split = sheet.column(("split",))
    others = [i for i in range(len(sheet.header)) if i not in (sheet.image, split)]
    if not others:
        raise ValueError(f"{path}: the header has no column of labels; found {', '.join(sheet.header)}; {ACCEPTED}")
    named = sheet.column(NAME_COLUMNS)
    if named is not None and len(others) > 1 and all(map(_is_flag, sheet.cells(named))):
        named = None  # a class that is called so
    if named is None and len(others) == 1 and not all(map(_is_flag, sheet.cells(others[0]))):
        named = others[0]
    if named is not None:
        return _names_table(sheet, named, split)
    return _flags_table(sheet, others, split)


def _is_flag(cell: str) -> bool:
    return cell.lower() in FLAGS


def _row(sheet: Sheet, line: int, cells: list[str], names: frozenset[str], split: int | None) -> Row:
    if sheet.image >= len(cells) or not cells[sheet.image]:
        raise ValueError(f"{sheet.path} line {line}: the row names no image")
    value = cells[split].lower() if split is not None and split < len(cells) else ""
    if value and value not in SPLITS:
        raise ValueError(f"{sheet.path} line {line}: split '{value}'; accepted: train, val, or nothing")
    return Row(line, cells[sheet.image], names, value)


def _unused(sheet: Sheet, columns: list[int]) -> list[str]:
    """A remark on unused columns, if there are any."""
    names = ", ".join(f"'{sheet.header[i]}'" for i in columns)
    return [f"{sheet.path}: column(s) {names} are not used; {ACCEPTED}"] if columns else []


def _names_table(sheet: Sheet, named: int, split: int | None) -> LabelTable:
    path, width = sheet.path, len(sheet.header)
    last = named == width - 1  # unquoted commas in the last column spill over into further cells
    texts = []
    for line, cells in sheet.lines:
        if len(cells) > width and any(cells[width:]) and not last:
            raise ValueError(f"{path} line {line}: {len(cells)} cells for {width} columns; quote the class names")
        texts.append(",".join(filter(None, cells[named:] if last else cells[named : named + 1])))
    rows = [
        _row(sheet, line, cells, names, split)
        for (line, cells), names in zip(sheet.lines, _name_sets(texts), strict=True)
    ]
    if not any(row.names for row in rows):
        raise ValueError(f"{path}: no row names a class")
    classes = checked_classes(path, sorted({name for row in rows for name in row.names}))
    _check_separators(path, rows, classes)
    remarks = [*sheet.remarks, *_unused(sheet, [i for i in range(width) if i not in (sheet.image, split, named)])]
    if all(name.isdecimal() for name in classes):
        remarks.append(f"{path}: its classes are numbers ({', '.join(classes[:3])} …), which are taken for their names")
    rows, several = _joined(rows)
    if several:
        remarks.append(f"{path}: {several} image(s) have several rows with one label each, which are taken together")
    return LabelTable(path, "names", classes, rows, remarks)


def _name_sets(texts: list[str]) -> list[frozenset[str]]:
    """The class names in each cell of a column."""
    filled = [text for text in texts if text]
    if filled and all(re.fullmatch(r"\[.*\]|\(.*\)|\{.*\}", text, re.DOTALL) for text in filled):
        return [_listed(text[1:-1]) for text in texts]
    pattern = r"[,;|]" if any(re.search(r"[,;|]", text) for text in texts) else r"\s+"
    return [frozenset(clean_name(name) for name in re.split(pattern, text) if name.strip()) for text in texts]


def _listed(text: str) -> frozenset[str]:
    """The names in a list as Python, numpy or JSON write it: quoted, or separated by commas."""
    quoted = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
    names = [re.sub(r"\\(.)", r"\1", one or other) for one, other in quoted] if quoted else text.split(",")
    return frozenset(clean_name(name) for name in names if name.strip())


def _joined(rows: list[Row]) -> tuple[list[Row], int]:
    """One row per image if each row has at most one label, and the number of images that had several rows.

    Rows that name an image differently, or give it different splits, stay separate.
    """
    if any(len(row.names) > 1 for row in rows):
        return rows, 0
    first: dict[tuple[str, str], Row] = {}
    rest, several = [], set()
    for row in rows:
        key = (row.image, row.split)
        before = first.setdefault(key, row)
        if before.names and row.names:
            first[key] = replace(before, names=before.names | row.names)
            several |= {key} if len(first[key].names) > 1 else set()
        elif before.names != row.names:
            rest.append(row)
    return sorted([*first.values(), *rest], key=lambda row: row.line), len(several)


def _check_separators(path: Path, rows: list[Row], classes: list[str]) -> None:
    """Raises ValueError for a class name that consists of other classes' names, i.e. lacks a separator."""
    known = set(classes)
    for row in rows:
        for name in sorted(row.names):
            words = name.split(" ")
            if len(words) > 1 and set(words) <= known:
                raise ValueError(
                    f"{path} line {row.line}: '{name}' may be one class or {len(words)}; "
                    "separate the names by the same sign in every row"
                )


def _flags_table(sheet: Sheet, columns: list[int], split: int | None) -> LabelTable:
    path, header = sheet.path, sheet.header
    texts = [i for i in columns if _is_text(sheet.cells(i))]
    columns = [i for i in columns if i not in texts] if len(texts) < len(columns) else columns
    texts = [i for i in texts if i not in columns]
    classes = dict(zip(columns, checked_classes(path, [header[i] for i in columns]), strict=True))
    rows = []
    for line, cells in sheet.lines:
        if any(cells[len(header) :]):
            raise ValueError(f"{path} line {line}: {len(cells)} cells for {len(header)} columns")
        values = {i: cells[i] if i < len(cells) else "" for i in columns}
        if (wrong := next((i for i, value in values.items() if not _is_flag(value)), None)) is not None:
            raise ValueError(
                f"{path} line {line}: '{values[wrong]}' in column '{header[wrong]}'; accepted: 0 or 1, "
                "or a single column 'labels' with class names"
            )
        names = frozenset(classes[i] for i, value in values.items() if FLAGS[value.lower()])
        rows.append(_row(sheet, line, cells, names, split))
    if not any(row.names for row in rows):
        raise ValueError(f"{path}: no row names a class")
    return LabelTable(path, "flags", list(classes.values()), rows, [*sheet.remarks, *_unused(sheet, texts)])


def _is_text(cells: list[str]) -> bool:
    """Whether a column contains text, and no flag."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(re.search(r"[^\W\d]", cell) and not _is_flag(cell) for cell in filled)
