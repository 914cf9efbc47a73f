"""Settings of the method."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from wsss.config.common import Component, Count, Decodes, Deviation, Fraction, Scales, Weight

Term = Literal["cls", "cls_aux", "ptc", "ctc", "seg", "energy"]


class Settings(Component, Decodes):
    """ToCo (Ru 2023): token contrast and a decoder, trained together; a timm ViT."""

    implementation = "wsss.methods.toco.network:ToCo"
    name: Literal["toco"]
    aux_block: int = Field(-3, description="block of the auxiliary classifier; negative: from the end")
    cam_scales: Scales = Field([1.0, 0.5, 1.5], description="scales of the CAMs from which labels are made")
    low_threshold: Fraction = Field(0.25, description="CAMs up to here are background")
    high_threshold: Fraction = Field(0.7, description="CAMs from here on are a class")
    local_crops: Count = Field(8, description="local crops per image (§3.3)")
    crop_size: Count = Field(96, description="pixels; side of a local crop")
    temperature: PositiveFloat = Field(0.5, description="of the class-token contrast (eq. 5)")
    momentum: Fraction = Field(0.9, description="of the teacher head's moving average")
    projection: Annotated[list[Count], Field(min_length=3, max_length=3)] = Field(
        [2048, 256, 1024], description="hidden, bottleneck and output width of the projection heads"
    )
    starts: dict[Term, Annotated[int, Field(ge=0)]] = Field(
        {}, description="first step of a loss term; those not named: seg and energy 2000, the others 0"
    )
    aux_labels_until: int = Field(
        0, ge=0, description="before this step the decoder's labels come from the auxiliary CAM (ToCo on COCO)"
    )
    counted_images: Count | None = Field(
        None, description="images per group over which ptc and seg are normalised; null: the whole batch"
    )
    freeze_positions: bool = Field(
        True, description="position embedding is not trained (published); false from scratch"
    )
    energy_sigma_rgb: Deviation = Field(15.0, description="energy loss: deviation in grey values of 0..255")
    energy_sigma_xy: Deviation = Field(100.0, description="energy loss: deviation in pixels")
    energy_kernel: Literal["lattice", "exact"] = Field("lattice", description="energy loss: exact is a slow reference")
    weights: dict[Term, Weight] | None = Field(
        None, description="factors of the loss terms; null: 1, 1, 0.2, 0.5, 0.1, 0.05 (§4.1)"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low_threshold <= self.high_threshold:
            given = f"{self.low_threshold} and {self.high_threshold}"
            raise ValueError(f"low and high threshold are {given}; they must satisfy 0 ≤ low ≤ high ≤ 1")
        return self

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if (self.weights or {}).get("cls") == 0:
            raise ValueError("weights.cls is 0, and nothing else trains the classifier of the maps; accepted: above 0")
        return self
