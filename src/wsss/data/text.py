"""Decoding of text files (lists, tables, annotations) from any program."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wsss.runtime.files import regular

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NO_TEXT = {b"PK\x03\x04": "an Excel workbook or a ZIP archive", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}
_NO_TEXT |= {b"\x1f\x8b": "compressed by gzip", b"\x89HDF": "an HDF5 file", b"SQLite": "a database"}
_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SAVE = "save it as UTF-8 (in Excel: 'CSV UTF-8 (comma delimited)')"


class Text(NamedTuple):
    """Decoded text. remark: for the user, on how it was decoded, or empty."""

    text: str
    remark: str | None = None

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number from 1, stripped line) of the lines that are not blank."""
        yield from ((number, line.strip()) for number, line in self.written() if line.strip())

    def written(self) -> Iterator[tuple[int, str]]:
        """(number from 1, unstripped line) of the lines that are not empty; some may be spaces only."""
        lines = re.split(r"\r\n|\r|\n", self.text)
        yield from ((number, line) for number, line in enumerate(lines, start=1) if line)


def read_text(path: Path) -> Text:
    """A file's text without its byte-order mark.

    UTF-8; UTF-16 or UTF-32 with a mark; UTF-16 without one, of mostly Latin letters; else Windows-1252, with a remark.

    Raises:
        ValueError: no such encoding, or no text; names the file and the line.
        OSError: the file cannot be read.
    """
    data = regular(path).read_bytes()
    if kind := next((kind for magic, kind in _NO_TEXT.items() if data.startswith(magic)), None):
        raise ValueError(f"{path}: is {kind}, no text; {_SAVE}")
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    data = data[len(mark) :]
    encoding = _MARKS.get(mark) or _without_mark(path, data)
    try:
        return Text(data.decode(encoding))
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        line = f"{path} line {number}" if encoding == "utf-8" else f"{path}"
        if encoding != "utf-8" or mark or _SEQUENCE.search(data):
            raise ValueError(f"{line}: not {encoding.upper()}, as the rest of the file is; {_SAVE}") from None
        return _windows(line, data, error.start)


def _without_mark(path: Path, data: bytes) -> str:
    if b"\0" not in data:
        return "utf-8"
    first, second = data[::2].count(0), data[1::2].count(0)
    if len(data) % 2 == 0 and min(first, second) == 0 and 4 * max(first, second) > len(data):
        return "utf-16-be" if first else "utf-16-le"
    raise ValueError(f"{path}: holds NUL bytes, so it is no text; {_SAVE}")


def _windows(line: str, data: bytes, at: int) -> Text:
    """The text in Windows-1252, the encoding of Excel's plain 'CSV', with a remark."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise ValueError(f"{line}: neither UTF-8 nor Windows-1252; {_SAVE}") from None
    start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    sample = data[start : end if end >= 0 else len(data)].decode("cp1252").strip()[:60]
    return Text(text, f"{line}: not UTF-8; read as Windows-1252: '{sample}'; where that is wrong, {_SAVE}")
