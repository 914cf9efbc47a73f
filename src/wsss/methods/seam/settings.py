"""Settings of the method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wsss.config.common import Component, Fraction, ScaleRange, Weight

Share = Annotated[float, Field(gt=0, le=1)]


class Settings(Component):
    """SEAM (Wang 2020): equivariant regularisation and pixel correlation; any CNN with a pyramid."""

    implementation = "wsss.methods.seam.network:Seam"
    name: Literal["seam"]
    er: bool = Field(True, description="equivariant regularisation L_ER (eq. 2)")
    pcm: bool = Field(True, description="pixel correlation module; the maps are the revised ones (§3.3)")
    ecr: bool = Field(True, description="equivariant cross regularisation L_ECR (eq. 8); needs pcm")
    ohem: Share | None = Field(0.2, description="share of hardest pixels in L_ECR; null: all of them")
    min_pool: Share | None = Field(
        0.25, description="share of lowest-scoring pixels in the min-pool term on the revised maps; null: no such term"
    )
    rescale: ScaleRange = Field([0.3, 0.3], description="second view: side length ratio from U[low, high] (Table 3)")
    flip: bool = Field(False, description="mirror the second view (Table 3)")
    rotation: float = Field(0.0, ge=0, description="second view: degrees, U[−r, r]; the paper's Table 3 has 20")
    translation: int = Field(0, ge=0, description="second view: pixels, U[−t, t]; the paper's Table 3 has 15")
    er_weight: Weight = Field(1.0, description="factor of L_ER")
    ecr_weight: Weight = Field(1.0, description="factor of L_ECR")
    taps: tuple[int, int] = Field((-3, -2), description="backbone stages compared by pcm: a shallow and a deep one")
    dropout: Fraction = Field(0.5, description="dropout of whole feature channels before the classifier")
