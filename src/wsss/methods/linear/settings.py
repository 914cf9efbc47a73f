"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from wsss.config.common import Component, Count, UsesFeatures


class Settings(Component, UsesFeatures):
    """Logistic regression on features of a frozen network, also applied at every position (CAM, Zhou 2016)."""

    implementation = "wsss.methods.linear.network:LinearMethod"
    name: Literal["linear"]
    stage: int | Literal["final"] = Field("final", description="its input: one of compute_features.stages")
    pooling: Literal["average", "top_quarter"] = Field(
        "average",
        description="over positions: average, for convolutional features; top_quarter, of the highest 25 % of a "
        "class's scores, for a transformer's tokens",
    )
    bias: bool = Field(True, description="add a bias to the pooled scores; maps have none")
    steps: Count = Field(400, description="steps of AdamW: on all images and scales; with top_quarter on 64 of them")
    lr: PositiveFloat = Field(0.02, description="first learning rate; it falls linearly to 0")
    weight_decay: float = Field(0.1, ge=0)
