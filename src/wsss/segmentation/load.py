"""Loading of trained segmentation networks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsss.backbones.rebuilt import rebuilt
from wsss.config.loading import checked_section
from wsss.config.stages import TrainSegmentation
from wsss.segmentation.build import build_segmentation
from wsss.segmentation.network import Segmenter
from wsss.segmentation.predictor import Predictor
from wsss.store.about import read_about
from wsss.store.models import read_model


def load_segmentation(path: Path | str) -> Segmenter:
    """A trained segmentation network, in eval mode, with `predict` for an image and `class_names`."""
    tensors, settings, classes = read_model(Path(path), "segmentation")
    section = checked_section(TrainSegmentation, settings, f"{path}:")
    model = rebuilt(lambda: build_segmentation(section, len(classes)), tensors, Path(path))
    model.class_names = classes
    if "views" in (about := read_about(Path(path))):
        model.apply_to = partial(_applied, model, about, Path(path))
    return model.eval()


def _applied(model: Segmenter, about: Mapping[str, Any], where: Path, image: np.ndarray, fast: bool) -> np.ndarray:
    """`Segmenter.apply_to` of a model file with this description."""
    device = next(model.parameters()).device
    return Predictor.described(model, about, device, where).changed(fast=fast).batch([image])[0][0]
