"""A trained network on images of any size: shrunk, in views, in tiles, and its labels at the image's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsss.config.loading import checked_section
from wsss.config.messages import shortened
from wsss.config.sections import CRF
from wsss.config.stages import Segment
from wsss.data.shrink import shrunk
from wsss.runtime.records import require_keys
from wsss.runtime.tensors import sum_normalise
from wsss.segmentation.fusion import probabilities, view_scores
from wsss.segmentation.inference import crf_labels
from wsss.segmentation.tiling import MARGIN, enlarged, enlarged_labels, tiled_probabilities

PLAIN = Segment(scales=[1.0], flip=False)
"""How a network is applied that does not say how: one scale, no mirror."""


def views_in(about: Mapping[str, Any], where: Path) -> tuple[Segment, int | None]:
    """The settings of `segment` in a model file's description, and the longest edge, in pixels, if there is one.

    Raises:
        ValueError: the file `where` says something else there.
    """
    given = require_keys(where, {"views": {}, **about}, views=dict)["views"]
    settings = checked_section(Segment, given.get("segment"), f"{where}: views.segment") if given else PLAIN
    edge = given.get("max_edge")
    if edge is not None and not (type(edge) is int and edge > 0):
        raise ValueError(f"{where}: views.max_edge: {shortened(edge)}; accepted are pixels, or null")
    return settings, edge


@dataclass(frozen=True)
class Predictor:
    """A network, its inference settings, and its class names."""

    model: nn.Module
    class_names: list[str]
    settings: Segment
    max_edge: int | None
    """Pixels to which images are shrunk; None: not at all."""

    device: torch.device
    tile: int = 1024
    classes: frozenset[int] | None = None
    """Accepted class ids beside the background; None: all."""

    @classmethod
    def described(cls, model: nn.Module, about: Mapping[str, Any], device: torch.device, where: Path) -> Self:
        """The predictor of a model file that may say how its run segments images. about: its description.

        Raises:
            ValueError: the file `where` says so in words that are not accepted.
        """
        return cls(model, about["classes"], *views_in(about, where), device)

    def changed(self, *, fast: bool = False, crf: CRF | None = None, classes: frozenset[int] | None = None) -> Self:
        """The predictor with another CRF and other classes. fast: one scale, no mirror."""
        changes: dict[str, Any] = {"crf": crf}
        if fast:
            changes |= {"scales": [sorted(self.settings.scales)[len(self.settings.scales) // 2]], "flip": False}
        return replace(self, settings=self.settings.model_copy(update=changes), classes=classes)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(B, C, H, W) float32 of images (B, H, W, 3) uint8."""
        s = self.settings
        shares = probabilities(view_scores(self.model, images, s, self.device), images.shape[1:3], s)
        if self.classes is not None:
            shares[:, [c for c in range(1, shares.shape[1]) if c not in self.classes]] = 0
            shares = sum_normalise(shares, 1)
        return shares.cpu().numpy()

    def batch(self, images: Sequence[np.ndarray], softmax: bool = False) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Labels (H, W) uint8 and, with `softmax`, probabilities (C, H, W) float16, of images of equal size."""
        work = [shrunk(image, self.max_edge) for image in images]
        if max(work[0].shape[:2]) <= self.tile or self.settings.geometry != "own":
            shares = self.probabilities(np.stack(work))
            found = zip(shares, work, images, strict=True)
            return [self._finish(share, w, i.shape[:2], softmax) for share, w, i in found]
        return [self._tiled(w, i.shape[:2], softmax) for w, i in zip(work, images, strict=True)]

    def _tiled(self, work: np.ndarray, size: tuple[int, int], softmax: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """As `batch`, for one image by tiles; allocates probabilities of the whole image only if they are needed."""
        keep = softmax or self.settings.crf is not None or work.shape[:2] != size
        shares = np.empty((len(self.class_names), *work.shape[:2]), np.float16) if keep else None
        label = np.empty(work.shape[:2], np.uint8)
        parts = tiled_probabilities(work, lambda window: self.probabilities(window[None])[0], self.tile, MARGIN)
        for place, share in parts:
            label[place] = share.argmax(0)
            if keep:
                shares[:, *place] = share
        return (label, None) if not keep else self._finish(shares, work, size, softmax)

    def _finish(
        self, share: np.ndarray, work: np.ndarray, size: tuple[int, int], softmax: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels and probabilities at the image's size; the CRF runs at the shrunk size."""
        if self.settings.crf is not None:
            label = crf_labels([work], [share.astype(np.float32)], self.settings.crf, self.device)[0]
            if label.shape != size:
                label = np.array(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
        else:
            label = share.argmax(0).astype(np.uint8) if share.shape[1:] == size else enlarged_labels(share, size)
        return label, self._finish_shares(share, size) if softmax else None

    @staticmethod
    def _finish_shares(share: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if share.shape[1:] == size:
            return share.astype(np.float16)
        return np.stack([enlarged(plane, size).astype(np.float16) for plane in share])
