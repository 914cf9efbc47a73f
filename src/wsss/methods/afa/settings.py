"""Settings of the method."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from wsss.config.common import Blocks, Component, Count, Decodes, Dilations, Fraction, Iterations, Scales, Weight


class Settings(Component, Decodes):
    """AFA (Ru 2022): affinity from attention and a decoder, trained together; a MiT with strides 4, 2, 2, 1."""

    implementation = "wsss.methods.afa.network:AFA"
    name: Literal["afa"]
    decoder_width: Count = Field(256, description="channels of the SegFormer decoder")
    attention_blocks: Blocks = Field([-2, -1], description="last-stage blocks that give the affinity")
    freeze_norms: bool = Field(True, description="LayerNorms are not trained (as published); false from scratch")
    scales: Scales = Field([1.0, 0.5, 1.5], description="scales of the CAMs from which the labels are made")
    background: tuple[Fraction, Fraction] = Field((0.35, 0.55), description="low and high background score (§4.1)")
    radius: Count = Field(8, description="cells; pairs farther apart (Chebyshev) are not compared")
    warmup_steps: int = Field(2000, ge=0, description="first steps, with the classification loss alone")
    refined_steps: int = Field(6000, ge=0, description="first step whose labels are propagated by the affinity")
    refined_pairs: bool = Field(
        False, description="from refined_steps on, propagated labels also supervise the affinity (AFA on COCO)"
    )
    segmentation_weight: Weight = Field(0.1, description="factor of L_seg (eq. 14)")
    affinity_weight: Weight = Field(0.1, description="factor of L_aff (eq. 14)")
    energy_weight: Weight = Field(
        0.0, description="factor of the dense energy loss of the segmentation; 0.01 for the published 66.0 % mIoU"
    )
    counted_images: Count | None = Field(
        None, description="images per group over which L_seg and L_aff are normalised; null: the whole batch"
    )
    dilations: Dilations = Field([1, 2, 4, 8, 12, 24], description="of PAR; pixels at half resolution")
    iterations: Iterations = Field(10, description="of PAR")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.background[0] <= self.background[1]:
            raise ValueError(f"background {self.background} given; accepted: a low and a high score, in this order")
        if not self.warmup_steps <= self.refined_steps:
            given = (self.warmup_steps, self.refined_steps)
            raise ValueError(f"warmup_steps, refined_steps {given} given; accepted: 0 ≤ warm-up ≤ refined")
        return self
