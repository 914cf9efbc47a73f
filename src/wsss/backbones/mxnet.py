"""MXNet's `.params` files, read without MXNet."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from wsss.runtime.files import regular

_LIST_MAGIC = 0x112
_ARRAY_V1, _ARRAY_V2, _ARRAY_V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_MAX_DIMENSIONS = 32
_DTYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")


def read_mxnet_params(path: Path | str) -> dict[str, Tensor]:
    """Name -> tensor of a file written by `mx.nd.save`; names keep their `arg:` and `aux:`.

    The file is little-endian: magic and a reserved word (uint64 each), a count (uint64) and the arrays, a
    count and the names (each a uint64 length and bytes). Dense arrays of all four format versions are read.

    Raises:
        ValueError: not such a file, truncated, or an array is sparse or of an unknown type.
    """
    path = Path(path)
    with regular(path).open("rb") as file:
        reader = _Reader(file, path)
        magic, _ = reader.unpack("<QQ")
        if magic != _LIST_MAGIC:
            raise ValueError(f"{path} is not an MXNet .params file: it starts with {magic:#x}, not 0x112")
        arrays = [reader.array() for _ in range(reader.count())]
        names = [reader.bytes(reader.count()) for _ in range(reader.count())]
        names = [name.decode(errors="replace") for name in names]
    if len(names) != len(arrays):
        raise ValueError(f"{path} holds {len(arrays)} arrays but {len(names)} names; named arrays are needed")
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """Fixed-size reads that notice the end of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.left = path.stat().st_size

    def bytes(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError(f"{self.path} is truncated: {size} bytes expected, {self.left} left")
        self.left -= size
        return self.file.read(size)

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.bytes(struct.calcsize(layout)))

    def count(self) -> int:
        return self.unpack("<Q")[0]

    def array(self) -> Tensor:
        """Version word, [storage type], shape, device type and id, dtype, values in C order."""
        shape = self.shape()
        if min(shape, default=1) < 1:
            raise ValueError(f"{self.path} is damaged: an array of the shape {shape}")
        if not shape:
            raise ValueError(f"{self.path} holds an array without a shape, which no published network has")
        _, _, dtype = self.unpack("<iii")
        if not 0 <= dtype < len(_DTYPES):
            known = f"0 … {len(_DTYPES) - 1}"
            raise ValueError(f"{self.path} holds an array of MXNet type {dtype}; known are {known}")
        kind = np.dtype(_DTYPES[dtype])
        values = np.frombuffer(self.bytes(kind.itemsize * math.prod(shape)), kind)
        return torch.from_numpy(values.reshape(shape).copy())

    def shape(self) -> tuple[int, ...]:
        """Before version 1, an array starts with its number of dimensions; sizes were uint32, later int64."""
        (version,) = self.unpack("<I")
        if version not in (_ARRAY_V1, _ARRAY_V2, _ARRAY_V3):
            return self.unpack(f"<{self.dimensions(version)}I")
        if version != _ARRAY_V1:
            (storage,) = self.unpack("<i")
            if storage != 0:
                raise ValueError(f"{self.path} holds a sparse array (storage {storage}); only dense ones are read")
        return self.unpack(f"<{self.dimensions(self.unpack('<i')[0])}q")

    def dimensions(self, number: int) -> int:
        if not 0 <= number <= _MAX_DIMENSIONS:
            raise ValueError(f"{self.path} is damaged or of an unknown version: an array of {number} dimensions")
        return number
