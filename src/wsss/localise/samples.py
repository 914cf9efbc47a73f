"""Activation maps of sample images for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wsss.config.views import CamViews
from wsss.data.dataset import Record, read_image
from wsss.localise.base import Localises
from wsss.localise.inference import cam_group

SAMPLES = 4


def write_sample_cams(folder: Path, model: Localises, records: Sequence[Record], class_names: Sequence[str]) -> None:
    """Writes TensorBoard images: each record's image, and a heat map at scale 1 of each of its classes."""
    from matplotlib import colormaps
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for record in records[:SAMPLES]:
            image = read_image(record.image)
            ((cams, _),) = cam_group(model, image[None], torch.from_numpy(record.labels)[None], CamViews(scales=[1.0]))
            grey = image.mean(2, keepdims=True) / 255
            heat = [0.4 * grey + 0.6 * colormaps["viridis"](cam)[..., :3] for cam in cams.cpu().numpy()]
            names = ", ".join(class_names[id] for id in record.classes)
            picture = np.concatenate([image / 255, *heat], axis=1)
            writer.add_image(f"cam/{record.image_id} ({names})", picture, dataformats="HWC")
