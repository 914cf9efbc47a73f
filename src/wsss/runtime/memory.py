"""A cache of limited size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def kept(read: Callable[[int], T], room: int, size: Callable[[T], int]) -> Callable[[int], T]:
    """`read` with a cache of results that have at most `room` bytes together. size: bytes of a result."""
    held: dict[int, T] = {}
    left = room

    def find(index: int) -> T:
        nonlocal left
        if index in held:
            return held[index]
        found = read(index)
        if (bytes_ := size(found)) <= left:
            held[index] = found
            left -= bytes_
        return found

    return find
