"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from wsss.config.common import Component, UsesFeatures


class Settings(Component, UsesFeatures):
    """Logistic regression on features of a frozen network, whose weights also score every position (Zhou 2016)."""

    implementation = "wsss.methods.linear.network:LinearMethod"
    name: Literal["linear"]
    stage: int | Literal["final"] = Field("final", description="which of compute_features.stages it classifies")
    bias: bool = Field(True, description="added to the pooled scores; maps are without it")
    steps: PositiveInt = Field(400, description="of AdamW, each on the pooled features of all images and scales")
    lr: PositiveFloat = Field(0.02, description="first learning rate; it falls linearly to 0")
    weight_decay: float = Field(0.1, ge=0)
