"""The input of format writers: label maps, their classes, and the images they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from wsss.store.maps import LabelStore


class Labels(Mapping[str, np.ndarray]):
    """`labels[image_id]` → (H, W) uint8 class ids, 255 = ignore; with class_names and palette.

    ids: those to write; None: all in the file. images: image id → image file of the map's size, if known.
    """

    def __init__(
        self, store: LabelStore, ids: Sequence[str] | None = None, images: Mapping[str, Path] | None = None
    ) -> None:
        self.store, self.images = store, images or {}
        self.class_names, self.palette = store.class_names, store.palette
        self._ids = list(store) if ids is None else list(ids)

    def file_name(self, image_id: str) -> str:
        """The id with the suffix of the image file, if known."""
        return image_id + (self.images[image_id].suffix if image_id in self.images else "")

    def __getitem__(self, image_id: str) -> np.ndarray:
        return self.store[image_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
