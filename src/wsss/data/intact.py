"""Damage within an image file that decoders pass over: they fill what is lost with grey, or go on with wrong pixels."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import Image

_MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")
"""What ends the data of a JPEG's scan; restarts are part of them."""
_BETWEEN_SCANS = frozenset((0xC4, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE))
_SEQUENTIAL = (0xC0, 0xC1)
_PAD = b"\xff\0" * 9
"""Decoders look 8 bytes ahead. A code of ones alone is none, so that these bytes hold no more than two blocks."""
_SPARE = 2048
"""Bytes of a scan that may be left over, or 1/64 if that is more: some cameras pad them."""


class _Scan(NamedTuple):
    """The only scan of a sequential JPEG: where its data begin and end in the file."""

    begin: int
    end: int


class _Fed(io.BytesIO):
    """A JPEG without its end mark, whose last data are read apart: the decoder must need them, and no more."""

    def __init__(self, data: bytes, scan: _Scan) -> None:
        super().__init__(data[: scan.end] + _PAD)
        self.last = max(scan.begin, scan.end - max(_SPARE, (scan.end - scan.begin) // 64))

    def read(self, size: int | None = -1, /) -> bytes:
        left = self.last - self.tell()
        return super().read(left if 0 < left < (size or 0) else size)


@contextmanager
def opened(data: bytes, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Context of an image opened from its file's bytes, which its body loads.

    Bytes, so that a damaged length cannot make Pillow allocate gigabytes.

    Raises:
        OSError: a checksum of a PNG is wrong, or the data of a JPEG end before the picture or go on after it.
    """
    stream = io.BytesIO(data)
    if data.startswith(b"\x89PNG"):
        _check_sums(data)
    elif data.startswith(b"\xff\xd8") and (scan := _only_scan(data)):
        stream = _Fed(data, scan)
    with Image.open(stream, formats=formats) as image:
        yield image
    if isinstance(stream, _Fed) and stream.tell() <= stream.last:
        raise OSError("the picture's data do not fit its size")


def _check_sums(data: bytes) -> None:
    """Compares the checksums of a PNG's image data, which Pillow does not."""
    start = 8
    while start + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + size
        if kind == b"IDAT" and data[end : end + 4] != struct.pack(">I", zlib.crc32(data[start + 4 : end])):
            raise OSError("wrong checksum of its pixels")
        start = end + 4


def _only_scan(data: bytes) -> _Scan | None:
    """The scan of a sequential JPEG that has one; None of a progressive one, and where the file is cut short.

    Raises:
        OSError: the data of a scan end in what no JPEG has there; decoders show the rest grey.
    """
    start, frame, scans = 2, 0, []
    while start + 4 <= len(data) and data[start] == 0xFF:
        kind, size = data[start + 1], int.from_bytes(data[start + 2 : start + 4])
        if kind == 0xFF:
            start += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            frame = kind
        start += 2 + size
        if kind != 0xDA:
            continue
        if (found := _MARKER.search(data, start)) is None:
            return None
        scans.append(_Scan(start, found.start()))
        start, following = found.start(), data[found.start() + 1]
        if following == 0xD9:
            return scans[0] if len(scans) == 1 and frame in _SEQUENTIAL else None
        if following not in _BETWEEN_SCANS:
            raise OSError("its data break off within the picture")
    return None
