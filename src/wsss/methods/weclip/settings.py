"""Settings of the method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsss.config.common import Blocks, Component, Count, Decodes, Fraction, Iterations, Section, Weight
from wsss.config.decoders import TokenDecoderOptions
from wsss.config.sections import Backbone
from wsss.config.words import Words


class Second(Section):
    """WeCLIP+'s second frozen tower, which shares the decoder."""

    backbone: Backbone = Field(description="a ViT or DINO; the batch is renormalised to its mean and deviation")
    blocks: Blocks = Field([-1], description="blocks whose tokens are fused (published: the last)")
    mutual_weight: Weight = Field(0.1, description="factor of each tower's loss against the other's prediction")
    dice_weight: Weight = Field(1.0, description="factor of the dice loss of the mean logits")
    masked_dice: bool = Field(
        True, description="leave ignored pixels out of dice; false: count them, as the published code does"
    )
    confident_steps: int = Field(18000, ge=0, description="first step at which confident predictions replace labels")
    confidence: Fraction = Field(0.75, description="probability above which a prediction becomes the label")


class Settings(Component, Words, TokenDecoderOptions, Decodes):
    """WeCLIP (Zhang 2024) and WeCLIP+ (2025): a decoder on frozen towers, trained on CLIP's maps that it refines."""

    implementation = "wsss.methods.weclip.network:WeCLIP"
    name: Literal["weclip"]
    half_projection: bool = Field(
        False,
        exclude_if=lambda half: not half,
        description="output projections of the decoder's attention in float16, as the published code computes them",
    )
    affinity_blocks: Count = Field(6, description="last blocks from which the refinement selects attention; COCO 10")
    early_blocks: Count = Field(8, description="last blocks whose mean attention is used before refined_steps")
    refined_steps: int = Field(15000, ge=0, description="first step at which the decoder's features refine the labels")
    difference: Literal["signed", "absolute"] = Field(
        "signed", description="distance of attention and affinity: as in the published code, or as in the paper"
    )
    box_threshold: Fraction | None = Field(
        0.4, description="maps spread from boxes around the cells above this × their maximum; COCO 0.7; null: all cells"
    )
    iterations: Iterations = Field(20, description="of PAR")
    affinity_weight: Weight = Field(0.1, description="factor of the affinity loss")
    radius: Count = Field(8, description="cells; pairs farther apart (Chebyshev) are not compared")
    second: Second | None = Field(None, description="WeCLIP+: a second tower; null: CLIP alone")
