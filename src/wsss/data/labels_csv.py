"""Image-level labels from a spreadsheet saved as CSV: one row per image, or per label.

Two forms are recognised by the header and the values:
- names: a column of class names, separated by commas, semicolons, bars or spaces, or written as lists
  (`['cat', 'dog']`). If any row uses one of the first three, spaces belong to the names (`dining table, cat`);
  otherwise they separate names. If no row has more than one name, an image may have several rows: if one has, and no
  cell has a sign between names, a cell is one name.
- flags: one column per class, with 0/1 (or no/yes, false/true, empty/x).

The first column (or one named image, file, filename, path …) names the image; an optional column `split`, or another
one that contains nothing but train and val, or flags `is_valid` (fastai) or `is_train`, divides the images. Columns of
other text are ignored, with a remark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsss.data.name_cells import name_sets, refuse_vectors, spaces_remark, without_call
from wsss.data.names import checked_classes
from wsss.data.sheet import ACCEPTED, FLAGS, IMAGE_COLUMNS, NAME_COLUMNS, Sheet, plain_header, read_sheet

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
"""Cell of a column of splits → split."""
FLAGGED = {"is_valid": "val", "is_val": "val", "is_validation": "val", "is_train": "train", "is_training": "train"}
"""Name of a column of flags → the split of the images for which they are set."""
LIKE_NAMES = "(labels?|class(es)?|tags?|categor(y|ies))$"
"""Ends of the names of columns that hold class names, e.g. `Finding Labels`, as `plain_header` writes them."""
DENYING = ("present", "presence", "exists", "positive", "value")
"""Names of columns of flags that say of each row whether the image shows the row's class, as `confidence` may."""
DOUBTFUL = (
    r"(is|has|num)[ _-].+|(.+[ _-])?id|(k[ _-]?)?fold|(sub)?set|train(ing)?|val(id(ation)?)?|test(ing)?|difficult"
)
DOUBTFUL += "|truncated|occluded|crowd|annotated|checked|verified|reviewed|label+ed|group|batch|index|confidence|score"
DOUBTFUL += "|total|sum|count|weight"
"""Names of columns of flags that may be no classes."""


@dataclass(frozen=True)
class LabelRow:
    """line: of the file, 1-based; image: as written; names: classes; split: train, val or empty."""

    line: int
    image: str
    names: frozenset[str]
    split: str


@dataclass(frozen=True)
class LabelTable:
    """classes: in the order of the columns, or alphabetical; shape: `names`, `flags` or `folders`.

    remarks: for the user, on how the file was read. unsure: the header of the images' column, where that may be a
    name of an image.
    """

    path: Path
    shape: str
    classes: list[str]
    rows: list[LabelRow]
    remarks: list[str] = field(default_factory=list)
    unsure: str | None = None


def read_labels(path: Path) -> LabelTable:
    """The table of a CSV file.

    Raises:
        ValueError: not such a table; names the file, the line, and the values found and accepted.
    """
    sheet = read_sheet(path)
    split = _split_column(sheet)
    others = [i for i in range(len(sheet.header)) if i not in (sheet.image, split)]
    if not others:
        raise ValueError(f"{path}: the header has no column of labels; found {', '.join(sheet.header)}; {ACCEPTED}")
    named = _named_column(sheet, others)
    table = _names_table(sheet, named, split) if named is not None else _flags_table(sheet, others, split)
    header = sheet.header[sheet.image]
    sure = plain_header(header) in map(plain_header, IMAGE_COLUMNS)
    return table if sure else replace(table, unsure=header)


def _split_column(sheet: Sheet) -> int | None:
    """The column of splits: the one called so, or one of flags for validation, or one that holds train and val only."""
    if called := sheet.columns(("split",)):
        return called[0]
    columns = [i for i in range(len(sheet.header)) if i != sheet.image]
    flags = next((i for i in sheet.columns((*FLAGGED,)) if i in columns and _all_flags(sheet, i)), None)
    if flags is not None:
        named = {plain_header(name): split for name, split in FLAGGED.items()}[plain_header(sheet.header[flags])]
        other = "train" if named == "val" else "val"
        for _, cells in sheet.lines:
            cells[flags : flags + 1] = [named if FLAGS[cells[flags].lower()] else other] * (flags < len(cells))
    names = sheet.columns(NAME_COLUMNS)
    values = {i: {SPLIT_NAMES.get(cell.lower()) for cell in sheet.cells(i)} for i in columns if i not in names}
    found = next((i for i, splits in values.items() if splits == {"train", "val"}), None)
    if found is not None:
        sheet.remarks.append(f"{sheet.path}: column '{sheet.header[found]}' divides the images into train and val")
    return found


def _named_column(sheet: Sheet, others: list[int]) -> int | None:
    """The column of class names, of several by header one with words; None if the table has flags."""
    called = [i for i in sheet.columns(NAME_COLUMNS) if i in others]
    alike = [i for i in others if re.search(LIKE_NAMES, plain_header(sheet.header[i]))]
    alike = alike if sum(_all_flags(sheet, i) for i in others) < 2 else []  # of several flags, a text is no name
    words = (i for i in [*called, *alike] if any(re.search(r"[^\W\d_]", cell) for cell in sheet.cells(i)))
    named = next((i for i in words if not _all_flags(sheet, i)), called[0] if called else None)
    if named is None:
        return others[0] if len(others) == 1 and not _all_flags(sheet, others[0]) else None
    flags = [i for i in others if _all_flags(sheet, i)]
    return None if named in flags and len(flags) > 1 else named  # a class that is called so


def _all_flags(sheet: Sheet, column: int) -> bool:
    return all(map(_is_flag, sheet.cells(column)))


def _is_flag(cell: str) -> bool:
    return cell.lower() in FLAGS


def _row(sheet: Sheet, line: int, cells: list[str], names: frozenset[str], split: int | None) -> LabelRow:
    if sheet.image >= len(cells) or not cells[sheet.image]:
        raise ValueError(f"{sheet.path} line {line}: the row names no image")
    value = cells[split].lower() if split is not None and split < len(cells) else ""
    if value and value not in SPLIT_NAMES:
        raise ValueError(f"{sheet.path} line {line}: split '{value}'; accepted: train, val, or nothing")
    return LabelRow(line, cells[sheet.image], names, SPLIT_NAMES.get(value, ""))


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
        text = ",".join(filter(None, cells[named:] if last else cells[named : named + 1]))
        texts.append(without_call(text))
    refuse_vectors(path, texts)
    _refuse_denied(sheet)
    alone = _one_a_row(sheet, texts)
    rows = [
        _row(sheet, line, cells, names, split)
        for (line, cells), names in zip(sheet.lines, name_sets(texts, alone=alone), strict=True)
    ]
    if not any(row.names for row in rows):
        raise ValueError(f"{path}: no row names a class")
    classes = checked_classes(path, sorted({name for row in rows for name in row.names}))
    _check_separators(path, rows, classes)
    remarks = [*sheet.remarks, *_unused(sheet, [i for i in range(width) if i not in (sheet.image, split, named)])]
    remarks += [] if alone else spaces_remark(path, texts)
    if all(map(_is_flag, classes)):
        words = ", ".join(classes)
        remarks.append(
            f"{path}: its classes are {words}; to say whether an image shows a class, name the column like it"
        )
    rows, several = _joined(rows)
    if several:
        remarks.append(f"{path}: {several} image(s) have several rows with one label each, which are taken together")
    return LabelTable(path, "names", classes, rows, remarks)


def _one_a_row(sheet: Sheet, texts: list[str]) -> bool:
    """Whether an image has rows with different labels, so that each row is of one label."""
    first: dict[str, str] = {}
    named = zip(sheet.cells(sheet.image), texts, strict=True)
    return any(first.setdefault(image, text) != text for image, text in named if text)


def _refuse_denied(sheet: Sheet) -> None:
    """Raises ValueError for a row that says that its image lacks the class, as Open Images' `confidence` does."""
    denying = [column for column in sheet.columns(DENYING) if _all_flags(sheet, column)]
    for column in [*sheet.columns(("confidence",)), *denying]:
        for (line, _), cell in zip(sheet.lines, sheet.cells(column), strict=True):
            if re.fullmatch(r"0(\.0*)?|no?|false", cell.lower()):
                found = f"{sheet.path} line {line}: {sheet.header[column].lower()} {cell}"
                raise ValueError(f"{found}, so that the image lacks the class; leave such rows out")


def _joined(rows: list[LabelRow]) -> tuple[list[LabelRow], int]:
    """One row per image if each row has at most one label, and the number of images that had several rows.

    Rows that name an image differently, or give it different splits, stay separate.
    """
    if any(len(row.names) > 1 for row in rows):
        return rows, 0
    first: dict[tuple[str, str], LabelRow] = {}
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


def _check_separators(path: Path, rows: list[LabelRow], classes: list[str]) -> None:
    """Raises ValueError for a class name that consists of other classes' names, i.e. lacks a separator."""
    known = set(classes)
    for row in rows:
        for name in sorted(row.names):
            words = re.split(r"\s*[/\\+&・·]\s*|\s+", name)
            if len(words) > 1 and set(words) <= known:
                raise ValueError(
                    f"{path} line {row.line}: '{name}' may be one class or {len(words)}; "
                    "separate the names by the same sign in every row, a comma, semicolon or bar"
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
    remarks = [*sheet.remarks, *_unused(sheet, texts)]
    doubtful = [name for name in classes.values() if re.fullmatch(DOUBTFUL, name, re.IGNORECASE)]
    if 0 < len(doubtful) < len(classes):
        names = ", ".join(f"'{name}'" for name in doubtful)
        remarks.append(f"{path}: column(s) {names} are taken for classes; take those out that are none")
    return LabelTable(path, "flags", list(classes.values()), rows, remarks)


def _is_text(cells: list[str]) -> bool:
    """Whether a column contains text, and no flag."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(re.search(r"[^\W\d]", cell) and not _is_flag(cell) for cell in filled)
