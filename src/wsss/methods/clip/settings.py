"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsss.config.common import Component, Fraction, Untrained
from wsss.config.words import Words


class Settings(Component, Words, Untrained):
    """CLIP-ES (Lin 2023): Grad-CAM of a frozen CLIP against background phrases, refined by its attention."""

    implementation = "wsss.methods.clip.network:CLIPES"
    name: Literal["clip"]
    affinity_blocks: int = Field(8, ge=0, description="last blocks whose attention refines the maps; 0: none (§3.3)")
    affinity_power: int = Field(1, ge=0, le=10, description="exponent p: the transition matrix is applied 2^p times")
    box_threshold: Fraction | None = Field(
        0.4, description="maps spread from boxes around the cells above this × their maximum; COCO 0.7; null: all cells"
    )
