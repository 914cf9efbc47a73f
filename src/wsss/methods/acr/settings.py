"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsss.config.common import Component, Weight


class Settings(Component):
    """ACR (Sun 2023): attention consistent between an image and its mirror; a timm ViT or hybrid."""

    implementation = "wsss.methods.acr.network:ACR"
    name: Literal["acr"]
    alpha: Weight = Field(125.0, description="factor of both consistency losses (eq. 6)")
    class_rows: bool = Field(True, description="consistency of the class token's attention to the patches (eq. 4)")
    patch_pairs: bool = Field(True, description="consistency of the attention between patches (eq. 5)")
    localisation: Literal["gradient", "patch"] = Field(
        "gradient", description="class-token attention by its gradient (§3.4), or the classifier on patch tokens"
    )
    gradient_mode: Literal["grad", "grad_s", "cam_grad", "cam_grad_s"] = Field(
        "grad", description="combination of attention and gradient; see wsss.methods.acr.network.class_token_map"
    )
    start_layer: int = Field(-2, description="first block of the gradient localisation; negative: from the end")
    refine: bool = Field(True, description="spread the gradient maps along the patches' attention")
