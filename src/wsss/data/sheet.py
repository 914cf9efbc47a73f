"""Reading of a spreadsheet saved as CSV by any program: its header and its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsss.data.files import SUFFIXES
from wsss.data.text import read_text
from wsss.runtime.cells import unescaped

ACCEPTED = "accepted: columns image,labels with class names, or image and one 0/1 column a class"
IMAGE_COLUMNS = ("image", "file", "filename", "path", "image_id", "image_name", "image_path", "filepath", "fname")
NAME_COLUMNS = ("labels", "label", "classes", "class", "tags", "class_name", "category", "categories", "label_name")
NAME_COLUMNS += ("class_label", "image_label", "choice")
FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "": False, "x": True}
FLAGS |= {"no": False, "yes": True, "false": False, "true": True, "n": False, "y": True, "f": False, "t": True}
FLAGS |= {
    "nein": False,
    "ja": True,
    "falsch": False,
    "wahr": True,
    "non": False,
    "oui": True,
    "faux": False,
    "vrai": True,
}
FLAGS |= {"falso": False, "verdadero": True, "vero": True, "si": True, "sí": True, "sì": True, "✓": True, "✔": True}
_INDEX = ("", "unnamed: 0", "index")
_COUNTERS = (*_INDEX, "id", "nr", "no", "#", "image_id")


@dataclass
class Sheet:
    """lines: (line number, cells) of the non-empty rows. image: index of the column that names the images.

    Cells are stripped, except image names, which may begin or end with spaces.
    remarks: for the user, on how the file was read.
    """

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]
    image: int = 0
    remarks: list[str] = field(default_factory=list)

    def columns(self, names: Sequence[str]) -> list[int]:
        """Indices of the columns with one of these names, in the names' order; compared as by `plain_header`."""
        plain = [plain_header(name) for name in self.header]
        return [i for name in map(plain_header, names) for i, found in enumerate(plain) if found == name]

    def cells(self, column: int) -> list[str]:
        """A column's stripped cells, empty in rows that end before it."""
        return [cells[column].strip() if column < len(cells) else "" for _, cells in self.lines]

    def drop(self, columns: Sequence[int]) -> None:
        """Removes columns."""
        for column in sorted(columns, reverse=True):
            for cells in (self.header, *(cells for _, cells in self.lines)):
                del cells[column : column + 1]


def plain_header(name: str) -> str:
    """The name of a column or folder for comparison: `File Name`, `file_name` and `FileName` are equal."""
    return re.sub(r"[\s_-]", "", name.casefold())


def _no_table(path: Path) -> str | None:
    """What is there in the place of a table, and what reads it."""
    if not path.exists():
        return "no such file"
    reader = annotations_at(path)
    if path.is_dir():
        return f"is a folder; {reader or 'without a table, folders of classes are the labels'}"
    return f"is {path.suffix[1:].upper()}; {reader}" if reader else None


def annotations_at(path: Path) -> str | None:
    """What reads the annotations of a file or folder, by its name or those of the files in it; None if it has none."""
    if path.is_dir():
        voc = any(any(path.glob(pattern)) for pattern in ("JPEGImages", "Annotations", "*.xml"))
        source = "voc" if voc else "coco" if any(path.glob("annotations/*.json")) else None
    else:
        source = {".json": "coco", ".xml": "voc"}.get(path.suffix.lower())
    return source and f"annotations of {source.upper()} are read by a run with prepare_data: {{dataset: {source}, …}}"


def read_sheet(path: Path) -> Sheet:
    """The cells of a CSV file, without empty columns and row numbers.

    The separator is the header's: comma, semicolon, tab or bar.

    Raises:
        ValueError: not such a table; names the file and the line.
    """
    if problem := _no_table(path):
        raise ValueError(f"{path}: {problem}; a CSV of labels is needed ({ACCEPTED})")
    text, remark = read_text(path)
    rows = _rows(path, text)
    if len(rows) < 2:
        raise ValueError(f"{path}: no rows below a header; {ACCEPTED}")
    header = [cell.strip() for cell in rows[0][1]]
    while header and not header[-1]:  # trailing separators of spreadsheets
        header.pop()
    if any(cell.lower().endswith(SUFFIXES) for cell in header):
        raise ValueError(f"{path} line {rows[0][0]}: names an image where column names are needed; {ACCEPTED}")
    sheet = Sheet(path, header, rows[1:], remarks=[remark] if remark else [])
    sheet.drop([i for i, name in enumerate(header) if not name and not any(sheet.cells(i))])
    _drop_counters(sheet)
    if header and not header[0]:  # pandas' index holds the images
        header[0] = IMAGE_COLUMNS[0]
    sheet.image = _image_column(sheet) or 0
    for _, cells in sheet.lines:
        cells[:] = [cell if i == sheet.image else cell.strip() for i, cell in enumerate(cells)]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled or "" in header:
        raise ValueError(f"{path}: the header names a column {'twice: ' + doubled[0] if doubled else 'with nothing'}")
    return sheet


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    separator = None
    hint = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    if hint:  # Excel's own first line
        separator, text = hint[1], text[hint.end() :]
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = separator or max(",;\t|", key=_outside_quotes(first).count)
    spaced = re.search(rf'{re.escape(separator)} +"', text) is not None  # before a quote, blanks are no part of a cell
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=spaced)
    shift = 1 if hint else 0
    try:
        rows = [(reader.line_num + shift, cells) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num + shift}: not a CSV row ({error})") from None
    return [(line, cells) for line, cells in rows if any(map(str.strip, cells))]


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _image_column(sheet: Sheet) -> int | None:
    """The column that names the images, by its header; of several, the first with file names, else the first."""
    named = sheet.columns(IMAGE_COLUMNS)
    files = (i for i in named if any(cell.lower().endswith(SUFFIXES) for cell in sheet.cells(i)))
    return next(files, named[0] if named else None)


def _drop_counters(sheet: Sheet) -> None:
    """Removes columns of row numbers, such as pandas' index, if another column names the images."""
    named = _image_column(sheet)
    counters = [i for i, name in enumerate(sheet.header) if name.lower() in _COUNTERS and _counts(sheet.cells(i))]
    counters = [i for i in counters if i != named]
    if named is None and counters[:1] == [0] and sheet.header[0].lower() in _INDEX and _may_name(sheet, 1):
        named, counters = 1, [0]
    if counters and named is not None:
        names = ", ".join(f"'{sheet.header[i]}'" for i in counters)
        sheet.remarks.append(f"{sheet.path}: column(s) {names} number the rows and are not used")
        sheet.drop(counters)


def _may_name(sheet: Sheet, column: int) -> bool:
    """Whether a column may contain image names, which can be numbers in the first column."""
    there = column < len(sheet.header) and sheet.header[column].lower() not in (*NAME_COLUMNS, "split")
    return there and not all(cell.lower() in FLAGS for cell in sheet.cells(column))


def _counts(cells: list[str]) -> bool:
    return all(re.fullmatch(r"\d+(\.0)?", cell) for cell in cells) and len(set(cells)) == len(cells)


def read_ids(path: Path) -> list[str]:
    """The image ids that a CSV lists in its column `image_id` (or `image`, `file` …), without repeats.

    Raises:
        ValueError: not such a table, or no id in it.
    """
    sheet = read_sheet(path)
    if not sheet.columns(IMAGE_COLUMNS):
        raise ValueError(f"{path}: no column image_id; found {', '.join(sheet.header)}")
    ids = list(dict.fromkeys(filter(None, map(unescaped, sheet.cells(sheet.image)))))
    if not ids:
        raise ValueError(f"{path}: no image id in column '{sheet.header[sheet.image]}'")
    return ids
