"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsss.config.common import Component, Fraction


class Settings(Component):
    """Class activation maps (Zhou 2016): global pooling and a 1×1 convolution; any CNN."""

    implementation = "wsss.methods.cam.network:CAM"
    name: Literal["cam"]
    pooling: Literal["average", "max", "top_quarter"] = Field(
        "average",
        description="pooling over positions; top_quarter: of the highest 25 %, which learns from scratch",
    )
    init: Literal["kaiming", "xavier", "zeros"] = Field(
        "kaiming",
        description="initial weights of the 1×1 convolution; PSA: xavier; zeros: for transformers, whose tokens have "
        "so large a norm that random weights delay training",
    )
    dropout: Fraction = Field(0.0, description="dropout of whole feature channels before the classifier")
