"""How long a run will take, before it has begun, and how much of it is done: for `wsss run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsss.plan.steps import Step

STARTING = 6.0
"""Core seconds until a stage's program works."""
EDGE = 320
"""Longest edge in pixels of the images of the rates below, which are core seconds of MobileNetV2 on one core."""
TRAINING = 0.10
"""Forward and backward of a crop of 256 pixels."""
VIEW = 0.025
"""Forward of an image at scale 1, of its mirror or of both in turn."""
CRF = 0.30
"""DenseCRF of an image."""
ELSE = 0.05
"""An image in any other stage."""


def predicted_seconds(step: Step, images: Mapping[str, int], edge: float, cores: int) -> float:
    """Seconds that a step takes on so many cores; a rough guess, as networks and machines differ.

    images: split → number. edge: the images' median longest edge in pixels.
    """
    settings = step.config
    area = (edge / EDGE) ** 2
    both = sum(images.values())
    counts = {"infer_cam": both, "prepare_data": both, "segment": images["val"], "quality": images["train"]}
    work = counts.get(step.stage, images["train"]) * area * _of_an_image(settings)
    if training := settings.get("training"):
        crop = (training.get("augment") or {}).get("crop") or 256
        work = images["train"] * training["epochs"] * TRAINING * (crop / 256) ** 2
    return STARTING + work / min(cores, 4)


def _of_an_image(settings: Mapping[str, Any]) -> float:
    """Core seconds of an image of `EDGE` pixels."""
    scales = settings.get("scales") or []
    views = sum(scale**2 for scale in scales) * (2 if settings.get("flip") else 1)
    return views * VIEW + (CRF if settings.get("crf") else 0.0) + (0.0 if scales else ELSE)
