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
        "average", description="over positions; top_quarter averages the highest 25 % and learns from scratch"
    )
    init: Literal["kaiming", "xavier", "zeros"] = Field(
        "kaiming",
        description="of the 1×1 convolution; PSA: xavier; zeros: for transformers, whose tokens are so long that "
        "random weights take many steps to unlearn",
    )
    dropout: Fraction = Field(0.0, description="of whole feature channels, before the classifier")
