"""Amount of work of a step, in advance: network passes over pixels, CRFs, images to open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsss.config.views import Views
from wsss.plan.published import content
from wsss.plan.steps import Step

_BOTH = ("prepare_data", "compute_features", "infer_cam")


@dataclass(frozen=True)
class Work:
    """Work of a step.

    network: name, empty if none. megapixels: of its forward passes; a training image counts several times. images:
    number opened. crf_images: number refined by DenseCRF. crf_steps: its iterations. what: description.
    """

    network: str
    megapixels: float
    images: int
    crf_images: int
    crf_steps: int
    what: str = ""

    def operations(self, unknown: float = 0.0) -> float:
        """10¹² operations of the passes. unknown: 10¹² operations per megapixel of a network that is not counted."""
        known = content()["work"]["operations"]
        name = max((name for name in known if self.network.startswith(name)), key=len, default=None)
        rate = known[name] if name else unknown if self.network else 0.0
        return rate * self.megapixels


def work_of(step: Step, images: Mapping[str, int], megapixels: float) -> Work:
    """The work of a step on `images` (split → number) of `megapixels` each."""
    training, settings = getattr(step.settings, "training", None), step.settings
    stored = "features" in step.upstream
    crf = getattr(settings, "crf", None)
    if training is not None and getattr(settings, "checkpoint", None) is None:
        pixels = megapixels if stored else training.augment.crop**2 / 1e6
        network = settings.architecture if stored else _network(step)
        seen, what = _training(step, training, images["train"], pixels)
        return Work(network, seen, images["train"], 0, 0, what)
    count = images["val"] if step.stage == "segment" else images["train"]
    if step.stage in _BOTH or (isinstance(settings, Views) and step.stage != "segment"):
        count = sum(images.values())
    network, seen, what = "", 0.0, ""
    if isinstance(settings, Views):
        views = len(settings.scales) * (2 if settings.flip else 1)
        area = sum(scale**2 for scale in settings.scales) * (2 if settings.flip else 1)
        own = settings.edge**2 / 1e6 if settings.edge else megapixels
        network = (_decoder(step) if stored else _network(step)) or ""
        seen, what = area * own * count, f"{count} images in {views} views each"
    return Work(network, seen, count, count if crf else 0, crf.steps if crf else 0, what)


def _training(step: Step, training: Any, images: int, pixels: float) -> tuple[float, str]:
    """Megapixels of the passes of a training run, and its description."""
    steps = training.steps(images)
    epochs = training.epochs * steps / training.planned_steps(images)
    kind = getattr(step.settings, "method", None)
    passes = content()["work"]["passes"].get(getattr(kind, "name", kind), 3)
    what = f"{epochs:.4g} epochs of {images} images, {training.batch_size} a step: {steps} steps"
    return passes * pixels * images * epochs, what


def _decoder(step: Step) -> str:
    """The name of the decoder on stored features upstream, if there is one."""
    model = step.upstream.get("model")
    return getattr(model.settings, "architecture", "") if model else ""


def _network(step: Step) -> str:
    """The backbone that a step runs: its own, or that of the upstream network."""
    backbone = getattr(step.settings, "backbone", None)
    if backbone is not None:
        return backbone.name
    upstream = (step.upstream[role] for role in ("model", "classifier") if role in step.upstream)
    return next(map(_network, upstream), "")
