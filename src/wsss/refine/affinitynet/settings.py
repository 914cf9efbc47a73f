"""Settings of AffinityNet: its walk, its network and the labels that supervise it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from wsss.config.common import Component, Count, WalkSteps, in_words
from wsss.config.sections import CRF
from wsss.refine.settings import PairTraining, require_order


class Settings(Component):
    """Random walk over AffinityNet's affinities, with the background as a further class."""

    implementation = "wsss.refine.affinitynet.walk:AffinityWalk"
    method: Literal["affinitynet"]
    alpha: PositiveFloat = Field(6, description="background (1 − max CAM)^α before the walk")
    beta: PositiveFloat = Field(8, description="exponent of the affinities in the transition matrix")
    steps: WalkSteps = Field(64, description="steps of the walk (a power of two in the papers)")
    inner_pairs: bool = Field(
        False, description="use only pairs of cells whose neighbours are all in the image, as the code of PSA and SEAM"
    )
    pad: bool = Field(
        False,
        description="pad the normalised image with 0 to whole cells of the network, as the code of PSA and SEAM",
    )

    def words(self) -> str:
        return f"random walk of {self.steps} steps, alpha {in_words(self.alpha)}, beta {in_words(self.beta)}"


class Training(PairTraining):
    """Semantic affinities between neighbouring cells (Ahn & Kwak 2018)."""

    implementation = "wsss.refine.affinitynet.training:AffinityNetTraining"
    method: Literal["affinitynet"]
    stride: Literal[4, 8, 16] = Field(8, description="pixels per cell of the affinity grid")
    channels: Annotated[list[Count], Field(min_length=1)] = Field(
        [64, 128, 256], description="projected channels of each of the last stages; three in the paper"
    )


class Labels(Component):
    """Confident labels that supervise AffinityNet: CRFs on two background scores (Ahn & Kwak 2018, §3.2)."""

    implementation = "wsss.refine.affinitynet.labels:PowerLabels"
    method: Literal["affinitynet"]
    low_alpha: PositiveFloat = Field(4, description="background (1 − max CAM)^α: much background")
    high_alpha: PositiveFloat = Field(24, description="background (1 − max CAM)^α: little background")
    crf: CRF = CRF()
    scores: bool = Field(
        False,
        description="store both CRFs' scores instead of labels; training averages them over its cells before the "
        "argmax (as published), and must not resize images",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        require_order(self, "low_alpha", "high_alpha")
        return self

    def words(self) -> str:
        return "confident foreground and background, the rest ignored"
