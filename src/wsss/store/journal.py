"""An append-only file of records, whose content survives a kill at any moment.

Layout: one line, the CRC-32 of the head and the head as JSON; then for each record its sizes and CRC-32
(`_PREFIX`), the image id in UTF-8, and the record's bytes. A truncated record fails its CRC and is dropped when the
file is reopened.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wsss.runtime.files import regular, write_error
from wsss.runtime.locks import lock
from wsss.store.hdf5 import Shape

_PREFIX = struct.Struct("<IIIIQI")  # bytes of the id; k, H, W; bytes of the record; CRC-32 of id and record
log = logging.getLogger("wsss")


class Entry(NamedTuple):
    """Position of a record in the journal, and the shape of its maps."""

    shape: Shape
    start: int
    size: int


class Journal:
    """Appends records to `path`, which is locked for one process.

    head: a JSON object. With `resume`, the records of an earlier journal with the same head are kept and are in
    `entries` from the start; otherwise the file starts empty.
    """

    def __init__(self, path: Path, head: dict[str, Any], *, resume: bool) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._file = _locked(path)
        line = _head_line(head)
        if resume and os.pread(self._file.fileno(), len(line), 0) == line:
            self.entries, end = _replay(self._file, len(line))
            self._file.truncate(end)
        else:
            self._file.truncate(0)
            self._write(line)

    def append(self, image_id: str, shape: Shape, record: bytes) -> None:
        """Add a record; when this returns, a kill no longer loses it.

        Raises:
            OSError: the record cannot be written whole, e.g. on a full disk; the journal is then unchanged.
        """
        name = image_id.encode()
        crc = zlib.crc32(record, zlib.crc32(name, zlib.crc32(repr(tuple(shape)).encode())))
        start = self._file.seek(0, os.SEEK_END)
        try:
            self._write(_PREFIX.pack(len(name), *shape, len(record), crc) + name + record)
        except OSError as error:
            self._file.truncate(start)
            raise write_error(self.path, error) from error
        self.entries[image_id] = Entry(shape, self._file.tell() - len(record), len(record))

    def _write(self, data: bytes) -> None:
        """Writes all of `data`; one write to an unbuffered file may take only a part."""
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def records(self) -> Iterator[tuple[str, Shape, bytes]]:
        """Every record, in the order of addition."""
        for image_id, (shape, start, size) in self.entries.items():
            yield image_id, shape, os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def delete(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def _head_line(head: dict[str, Any]) -> bytes:
    text = json.dumps(head, sort_keys=True, ensure_ascii=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _replay(file: BinaryIO, start: int) -> tuple[dict[str, Entry], int]:
    """The complete records from byte `start` on, and the position where the last of them ends."""
    entries: dict[str, Entry] = {}
    descriptor = file.fileno()
    end = os.fstat(descriptor).st_size
    while len(prefix := os.pread(descriptor, _PREFIX.size, start)) == _PREFIX.size:
        length, *shape, size, crc = _PREFIX.unpack(prefix)
        if start + _PREFIX.size + length + size > end:
            break
        content = os.pread(descriptor, length + size, start + _PREFIX.size)
        if len(content) < length + size or zlib.crc32(content, zlib.crc32(repr(tuple(shape)).encode())) != crc:
            break
        start += _PREFIX.size + length + size
        entries[content[:length].decode()] = Entry(tuple(shape), start - size, size)
    return entries, start


def _locked(path: Path) -> BinaryIO:
    """The file, opened for appending and locked; waits while another process holds the lock."""
    while True:
        file = regular(path).open("a+b", buffering=0)
        lock(file, f"waits for another process that writes {path}")
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # the other process has finished and removed it
