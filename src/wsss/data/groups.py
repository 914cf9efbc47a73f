"""Work over many images in groups of equal size: reading ahead, writing behind.

The groups depend on the list of images alone, and a shard takes whole groups. Each image is thus in the same batch for
any number of shards, and results are bit-identical.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import groupby, islice
from typing import Any, Self, TypeVar

import numpy as np

from wsss.data.dataset import Record, read_image

GROUP_PIXELS = 2**19
"""Largest number of pixels of a group at scale 1, which bounds the memory."""
WRITE_BEHIND = 4
"""Length of the writing thread's queue."""
T, R = TypeVar("T"), TypeVar("R")


def size_groups(records: Sequence[Record]) -> list[list[Record]]:
    """Groups of images of equal size, in order of size and id."""
    groups = []
    ordered = sorted(records, key=lambda r: (r.size, r.image_id))
    for (height, width), members in groupby(ordered, key=lambda r: r.size):
        same = list(members)
        count = max(1, GROUP_PIXELS // (height * width))
        groups += [same[i : i + count] for i in range(0, len(same), count)]
    return groups


def pending(groups: Sequence[list[Record]], *stores: Container[str]) -> list[list[Record]]:
    """The groups of which some image is missing in one of `stores`: the remaining work of an interrupted job."""
    return [group for group in groups if not all(r.image_id in store for r in group for store in stores)]


def read_groups(groups: Sequence[list[Record]]) -> Iterator[tuple[list[Record], np.ndarray]]:
    """Each group with its images (B, H, W, 3) uint8; the next groups are decoded in the background.

    Raises:
        ValueError: an image is broken, or its size has changed since prepare_data.
    """
    for group, images in read_ahead(_read_group, groups):
        yield group, images.result()


def read_ahead(read: Callable[[T], R], items: Iterable[T], count: int = 2) -> Iterator[tuple[T, Future[R]]]:
    """Each item with a finished future of what `read` returns or raises; two threads read `count` items ahead."""
    rest = iter(items)
    with ThreadPoolExecutor(2) as pool:
        waiting = deque((item, pool.submit(read, item)) for item in islice(rest, count))
        while waiting:
            item, found = waiting.popleft()
            wait([found])
            waiting.extend((further, pool.submit(read, further)) for further in islice(rest, 1))
            yield item, found


def _read_group(group: list[Record]) -> np.ndarray:
    images = [read_image(record.image) for record in group]
    for record, image in zip(group, images, strict=True):
        if image.shape[:2] != record.size:
            raise ValueError(f"{record.image}: size {image.shape[:2]}, but it was {record.size} when prepared")
    return np.stack(images)


class WriteBehind:
    """Runs calls in order in one thread while the caller continues; errors are raised at a later call or the end."""

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future] = deque()
        return self

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.append(self._pool.submit(function, *arguments))
        while len(self._waiting) > WRITE_BEHIND:
            self._waiting.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
