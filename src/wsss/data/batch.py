"""The batch of a training step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Batch:
    """One training batch.

    images: (B, 3, H, W) float32, normalised with the backbone's mean and std; padding is 0, or black.
    labels: (B, K) float32 in {0, 1}, image-level labels without background.
    boxes: (B, 4) int64, (top, bottom, left, right) of the image inside the crop; outside is padding.
    extra: further views (B, 3, H, W) of the same images by name, if the settings have any.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        move = lambda t: t.to(device, non_blocking=True)  # noqa: E731
        extra = {k: move(v) for k, v in self.extra.items()}
        return Batch(move(self.images), move(self.labels), move(self.boxes), extra)
