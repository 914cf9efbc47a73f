"""What a run of a published system will take, before any of it is done: training steps, and hours by estimate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wsss.config.views import Views
from wsss.plan.published import content
from wsss.plan.run import Plan
from wsss.plan.steps import Step

SECONDS = 3600


@dataclass(frozen=True)
class Forecast:
    """One step of a run. what: its size in words. gpu_hours, core_hours: estimates; 0 for a matter of minutes."""

    label: str
    what: str
    gpu_hours: float
    core_hours: float


def forecast(plan: Plan, dataset: str) -> Iterator[Forecast]:
    """Every step of a run, upstream first, for as many images as the data set was published with.

    GPU hours are operations of the networks over an assumed speed, core hours those of DenseCRF alone.
    """
    images = content()["images"][dataset]
    for step in plan.steps:
        training, views = getattr(step.settings, "training", None), step.settings
        split = images["val"] if step.stage == "segment" else sum(images.values())
        if training is not None and getattr(step.settings, "checkpoint", None) is None:
            yield _training(step, training, _network(step), images["train"])
        elif isinstance(views, Views):
            yield Forecast(
                step.label, _seen(views, split), _view_hours(views, _network(step), split), _crf(step, split)
            )
        else:
            yield Forecast(step.label, "", 0.0, _crf(step, images["train"]))


def gpu() -> str:
    """Whose hours they are, and how they were come by."""
    work = content()["work"]
    return (
        f"{work['gpu']}, estimated and not measured: operations at {work['teraflop_per_second']} · 10¹² a second; "
        f"DenseCRF at {work['crf_seconds']} s an image and core"
    )


def _training(step: Step, training: Any, network: str, images: int) -> Forecast:
    steps = training.steps(images)
    epochs = training.epochs * steps / training.planned_steps(images)
    what = f"{epochs:.4g} epochs of {images} images, {training.batch_size} a step: {steps} steps"
    kind = getattr(step.settings, "method", None)
    passes = content()["work"]["passes"].get(getattr(kind, "name", kind), 3)
    pixels = training.augment.crop**2 / 1e6
    return Forecast(step.label, what, _hours(network, passes * pixels * images * epochs), 0.0)


def _seen(views: Views, images: int) -> str:
    return f"{images} images in {len(views.scales) * (2 if views.flip else 1)} views each"


def _view_hours(views: Views, network: str, images: int) -> float:
    pixels = views.edge**2 / 1e6 if views.edge else content()["work"]["megapixels"]
    area = sum(scale**2 for scale in views.scales) * (2 if views.flip else 1) * pixels
    return _hours(network, area * images)


def _network(step: Step) -> str:
    """The backbone that a step computes: its own, or that of the network upstream."""
    backbone = getattr(step.settings, "backbone", None)
    if backbone is not None:
        return backbone.name
    upstream = (step.upstream[role] for role in ("model", "classifier") if role in step.upstream)
    return next(map(_network, upstream), "")


def _crf(step: Step, images: int) -> float:
    return content()["work"]["crf_seconds"] * images / SECONDS if getattr(step.settings, "crf", None) else 0.0


def _hours(network: str, megapixels: float) -> float:
    """Of a network's forward passes; 0 for one that has not been counted."""
    work = content()["work"]
    known = max((name for name in work["operations"] if network.startswith(name)), key=len, default=None)
    return work["operations"].get(known, 0) * megapixels / work["teraflop_per_second"] / SECONDS
