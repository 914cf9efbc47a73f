"""Mask proposals by a SAM of the library transformers and its mask-generation pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wsss.data.images import read_image
from wsss.refine.proposals.masks import Masks


def generate(
    images: Mapping[str, Path], model: str, device: torch.device, points: int = 32
) -> Iterator[tuple[str, Masks]]:
    """Each image's id and masks, at the image's own size.

    model: a folder of `save_pretrained`, or a name on the Hugging Face hub, downloaded once. points: prompts along each
    side of the grid. The thresholds are the pipeline's defaults: predicted IoU 0.88, stability 0.95.

    Raises:
        ValueError: no such model.
    """
    pipeline = _pipeline(model, device)
    for image_id, path in images.items():
        pixels = read_image(path)
        found = pipeline(Image.fromarray(pixels), points_per_batch=64, points_per_crop=points)["masks"]
        dense = [np.asarray(mask, bool) for mask in found]
        yield image_id, Masks.from_dense(np.stack(dense) if dense else np.empty((0, *pixels.shape[:2]), bool))


def _pipeline(model: str, device: torch.device):  # noqa: ANN202 (transformers' type is a second's import)
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return pipeline("mask-generation", model=model, device=device)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"'{model}' is no SAM that transformers loads ({str(error).splitlines()[0]}); accepted: a folder of its "
            "save_pretrained, or a name such as facebook/sam-vit-base (Apache-2.0), where the hub can be reached"
        ) from None
