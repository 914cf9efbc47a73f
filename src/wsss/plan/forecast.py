"""What a run of a published system will take, before any of it is done: training steps, and hours by estimate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wsss.config.views import Views
from wsss.plan.published import System, content
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


def forecast(plan: Plan, system: System) -> Iterator[Forecast]:
    """Every step of a system's run, upstream first, for as many images as were published.

    GPU hours are operations of the networks over an assumed speed, core hours those of DenseCRF alone.
    """
    images = content()["images"][system.dataset]
    for step in plan.steps:
        training, views = getattr(step.settings, "training", None), step.settings
        split = images["val"] if step.stage == "segment" else sum(images.values())
        if training is not None and getattr(step.settings, "checkpoint", None) is None:
            yield _training(step, training, system, images["train"])
        elif isinstance(views, Views):
            yield Forecast(step.label, _seen(views, split), _view_hours(step, views, system, split), _crf(step, split))
        else:
            yield Forecast(step.label, "", 0.0, _crf(step, images["train"]))


def gpu() -> str:
    """Whose hours they are, and how they were come by."""
    work = content()["work"]
    return (
        f"{work['gpu']}, estimated and not measured: operations at {work['teraflop_per_second']} · 10¹² a second; "
        f"DenseCRF at {work['crf_seconds']} s an image and core"
    )


def _training(step: Step, training: Any, system: System, images: int) -> Forecast:
    steps = round(training.epochs * (images // training.batch_size))
    what = f"{training.epochs:g} epochs of {images} images, {training.batch_size} a step: {steps} steps"
    work, own = content()["work"], step.stage == "train_segmentation"
    passes = 3 if own else system.work["passes"].get(step.stage, 3)
    operations = work["segmentation"] if own else system.work["operations"]
    pixels = training.augment.crop**2 / 1e6
    return Forecast(step.label, what, _hours(operations * passes * pixels * images * training.epochs), 0.0)


def _seen(views: Views, images: int) -> str:
    return f"{images} images in {len(views.scales) * (2 if views.flip else 1)} views each"


def _view_hours(step: Step, views: Views, system: System, images: int) -> float:
    work = content()["work"]
    own = step.stage == "segment" and step.upstream["model"].stage == "train_segmentation"
    operations = work["segmentation"] if own else system.work["operations"]
    pixels = views.edge**2 / 1e6 if views.edge else work["megapixels"]
    area = sum(scale**2 for scale in views.scales) * (2 if views.flip else 1) * pixels
    return _hours(operations * area * images)


def _crf(step: Step, images: int) -> float:
    return content()["work"]["crf_seconds"] * images / SECONDS if getattr(step.settings, "crf", None) else 0.0


def _hours(teraflop: float) -> float:
    return teraflop / content()["work"]["teraflop_per_second"] / SECONDS
