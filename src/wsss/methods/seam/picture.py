"""Affinity map of a SEAM classifier for one pixel of an image (Figure 5 of the paper)."""

from __future__ import annotations

import numpy as np
import torch

from wsss.data.augment import to_input
from wsss.methods.seam.network import Seam
from wsss.runtime.tensors import max_normalise, resize


@torch.inference_mode()
def affinity_to_pixel(model: Seam, image: np.ndarray, row: int, column: int, device: torch.device) -> np.ndarray:
    """(H, W) float32 in [0, 1]: affinity of each position of `image` (H, W, 3) uint8 to the pixel's cell.

    row, column: 0-based.

    Raises:
        ValueError: the pixel lies outside the image, or the model has no pixel correlation module.
    """
    height, width = image.shape[:2]
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"row {row}, column {column}: outside the image, which has {height} rows, {width} columns")
    model = model.to(device).eval()
    pixels = to_input(image, model.backbone.mean, model.backbone.std)[None].to(device)
    affinity = max_normalise(model.affinity_map(pixels, row, column))
    return resize(affinity[None], (height, width), align_corners=True)[0, 0].cpu().numpy()
