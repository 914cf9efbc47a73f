"""Estimates of a run's time in advance: GPU hours of a published system, CPU seconds of a user's run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wsss.plan.published import content
from wsss.plan.run import Plan
from wsss.plan.steps import Step
from wsss.plan.work import work_of
from wsss.runtime.start import can_share

SECONDS = 3600
STARTING, COPYING = 6.0, 1.0
"""Seconds of the start of a stage's program, and where programs share their imports."""
UNKNOWN = 0.05
"""10¹² operations per megapixel assumed for a network that has not been counted: those of a small CNN."""
ALL_CLASSES = 2.5
"""Time of DenseCRF with all classes, as in segment, relative to that with an image's own classes."""
MOST_CORES = 4
"""Number of cores beyond which a stage hardly gets faster."""


@dataclass(frozen=True)
class Forecast:
    """Estimate of a step. what: description of its amount of work. gpu_hours, core_hours: 0 for a few minutes."""

    label: str
    what: str
    gpu_hours: float
    core_hours: float


def forecast(plan: Plan, dataset: str) -> Iterator[Forecast]:
    """Estimates of every step of a run, upstream first, for the published number of images of the data set.

    GPU hours are the networks' operations divided by an assumed speed; core hours are those of DenseCRF alone.
    """
    known = content()["work"]
    for step in plan.steps:
        work = work_of(step, content()["images"][dataset], known["megapixels"])
        gpu_hours = work.operations() / known["teraflop_per_second"] / SECONDS
        yield Forecast(step.label, work.what, gpu_hours, known["crf_seconds"] * work.crf_images / SECONDS)


def starting_seconds(programs: int, cores: int) -> float:
    """Rough estimate of the seconds in which a step's programs start, as many at once as there are cores."""
    return (COPYING if can_share() else STARTING) * math.ceil(programs / cores)


def predicted_seconds(step: Step, images: Mapping[str, int], megapixels: float, cores: int) -> float:
    """Rough estimate of a step's seconds on `cores` CPU cores, without the start of its programs.

    images: split → number. megapixels: of a typical image.
    """
    known = content()["work"]
    work = work_of(step, images, megapixels)
    crf = known["crf_seconds"] * megapixels / known["megapixels"] * work.crf_steps / 10
    crf *= ALL_CLASSES if step.stage == "segment" else 1
    other = known["opening_seconds"] * megapixels / known["megapixels"]
    seconds = work.operations(UNKNOWN) / known["teraflop_per_second_and_core"]
    return (seconds + work.crf_images * crf + work.images * other) / min(cores, MOST_CORES)


def gpu() -> str:
    """The assumed GPU, and how its hours are estimated."""
    work = content()["work"]
    return (
        f"{work['gpu']}, estimated and not measured: operations at {work['teraflop_per_second']} · 10¹² a second; "
        f"DenseCRF at {work['crf_seconds']} s an image and core"
    )
