"""Memory: a check of what is there, and a cache of limited size."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def require_memory(what: str, size: int, advice: str) -> None:
    """Raises ValueError for what needs more bytes than this machine has."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise ValueError(
            f"{what} takes {size / 1e9:.0f} GB, more than this machine's memory of {there / 1e9:.0f} GB; {advice}"
        )


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
