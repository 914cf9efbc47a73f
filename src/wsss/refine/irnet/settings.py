"""Settings of IRNet: its walk, its network and the labels that supervise it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from wsss.config.common import Component, Fraction, Radius, WalkSteps, in_words
from wsss.config.sections import CRF
from wsss.refine.settings import PairTraining, require_order


class Settings(Component):
    """Random walk that stops at IRNet's boundaries; scores are relative to the image's maximum."""

    implementation = "wsss.refine.irnet.walk:BoundaryWalk"
    method: Literal["irnet"]
    radius: Radius = Field(5, description="cells; reach of one step (exclusive)")
    beta: PositiveFloat = Field(10, description="exponent of the affinities in the transition matrix")
    steps: WalkSteps = Field(256, description="steps of the walk (a power of two in the papers)")
    threshold: Fraction = Field(0.25, description="background score after the walk")
    start: Literal["full", "strided"] = Field(
        "full",
        description="start of the walk: the full-size maps, resized to the boundary grid; or infer_cam's strided (IRN)",
    )

    def words(self) -> str:
        return f"random walk of {self.steps} steps, beta {in_words(self.beta)}"


class Training(PairTraining):
    """Class boundaries and displacements to object centres (Ahn 2019), on a frozen backbone.

    The boundary branch trains with lr, the displacement branch with head_lr_multiplier × lr.
    """

    implementation = "wsss.refine.irnet.training:IRNetTraining"
    method: Literal["irnet"]
    stride: Literal[4, 8] = Field(4, description="pixels per cell of the boundary map")
    radius: Radius = Field(10, description="cells; pairs closer than this are compared")
    displacement_over: Literal["train", "measured"] = Field(
        "train", description="images of the mean displacement that inference subtracts; measured: those with masks"
    )

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return self.displacement_over == "measured"


class Labels(Component):
    """Confident labels that supervise IRNet: CRFs on the labels of two thresholds (Ahn 2019, §4.1)."""

    implementation = "wsss.refine.irnet.labels:ThresholdLabels"
    method: Literal["irnet"]
    foreground_threshold: Fraction = Field(0.30, description="background score above which a class is certain")
    background_threshold: Fraction = Field(0.05, description="background score below which background is certain")
    gt_prob: Annotated[float, Field(gt=0, lt=1)] = Field(0.7, description="probability of a given label in the CRF")
    crf: CRF = CRF(bilateral_sxy=50, bilateral_srgb=5)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        require_order(self, "background_threshold", "foreground_threshold")
        return self

    def words(self) -> str:
        return "confident foreground and background, the rest ignored"
