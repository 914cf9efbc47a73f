"""What a run will take, before any of it is done: GPU hours of a published system, CPU seconds of a user's run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wsss.plan.published import content
from wsss.plan.run import Plan
from wsss.plan.steps import Step
from wsss.plan.work import work_of

SECONDS = 3600
STARTING = 6.0
"""Core seconds until a stage's program works."""
UNKNOWN = 0.05
"""10¹² operations a megapixel of a network that has not been counted: that of a small CNN."""
ALL_CLASSES = 4
"""DenseCRF of all classes, as in segment, takes so many times that of an image's own classes."""
MOST_CORES = 4
"""Further cores make a stage hardly faster."""


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
    known = content()["work"]
    for step in plan.steps:
        work = work_of(step, content()["images"][dataset], known["megapixels"])
        gpu_hours = work.operations() / known["teraflop_per_second"] / SECONDS
        yield Forecast(step.label, work.what, gpu_hours, known["crf_seconds"] * work.crf_images / SECONDS)


def predicted_seconds(step: Step, images: Mapping[str, int], megapixels: float, cores: int) -> float:
    """Seconds that a step takes on so many CPU cores; a rough guess, as networks and machines differ.

    images: split → number. megapixels: of a typical image.
    """
    known = content()["work"]
    work = work_of(step, images, megapixels)
    crf = known["crf_seconds"] * megapixels / known["megapixels"] * work.crf_steps / 10
    crf *= ALL_CLASSES if step.stage == "segment" else 1
    other = known["opening_seconds"] * megapixels / known["megapixels"]
    seconds = work.operations(UNKNOWN) / known["teraflop_per_second_and_core"]
    return STARTING + (seconds + work.crf_images * crf + work.images * other) / min(cores, MOST_CORES)


def gpu() -> str:
    """Whose hours they are, and how they were come by."""
    work = content()["work"]
    return (
        f"{work['gpu']}, estimated and not measured: operations at {work['teraflop_per_second']} · 10¹² a second; "
        f"DenseCRF at {work['crf_seconds']} s an image and core"
    )
