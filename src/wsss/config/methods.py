"""Settings of the localisation methods, one model a method; `train_classifier.method.name` chooses."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from wsss.config.common import Fraction, Range, Section

Weight = Annotated[float, Field(ge=0)]
Scales = Annotated[list[PositiveFloat], Field(min_length=1)]


class CAMMethod(Section):
    """Class activation maps (Zhou 2016): global pooling and a 1×1 convolution; any CNN."""

    end_to_end: ClassVar[bool] = False
    name: Literal["cam"]
    pooling: Literal["average", "max", "top_quarter"] = Field(
        "average", description="over positions; top_quarter averages the highest 25 % and learns from scratch"
    )
    dropout: Fraction = Field(0.0, description="of whole feature channels, before the classifier")


class SEAMMethod(Section):
    """SEAM (Wang 2020): equivariant regularisation and pixel correlation; any CNN with a pyramid."""

    end_to_end: ClassVar[bool] = False
    name: Literal["seam"]
    er: bool = Field(True, description="equivariant regularisation L_ER (eq. 2)")
    pcm: bool = Field(True, description="pixel correlation module; the maps are the revised ones (§3.3)")
    ecr: bool = Field(True, description="equivariant cross regularisation L_ECR (eq. 8); needs pcm")
    ohem: Fraction | None = Field(0.2, description="share of hardest pixels in L_ECR; null: all of them")
    min_pool: Fraction | None = Field(
        0.25, description="share of weakest pixels that the revised maps are pushed down at; null: no such term"
    )
    rescale: Range = Field([0.3, 0.3], description="second view: side length ratio from U[low, high] (Table 3)")
    flip: bool = Field(False, description="second view: mirrored (Table 3)")
    rotation: float = Field(0.0, ge=0, description="second view: degrees, U[−r, r]; the paper's Table 3 has 20")
    translation: int = Field(0, ge=0, description="second view: pixels, U[−t, t]; the paper's Table 3 has 15")
    er_weight: Weight = Field(1.0, description="factor of L_ER")
    ecr_weight: Weight = Field(1.0, description="factor of L_ECR")
    taps: tuple[int, int] = Field((-3, -2), description="backbone stages compared by pcm: a shallow and a deep one")
    dropout: Fraction = Field(0.5, description="of whole feature channels, before the classifier")


class AFAMethod(Section):
    """AFA (Ru 2022): affinity from attention and a decoder, in one training; a MiT with strides 4, 2, 2, 1."""

    end_to_end: ClassVar[bool] = True
    name: Literal["afa"]
    decoder_width: PositiveInt = Field(256, description="channels of the SegFormer decoder")
    attention_blocks: list[int] = Field([-2, -1], min_length=1, description="last-stage blocks that make the affinity")
    freeze_norms: bool = Field(True, description="LayerNorms are not trained (as published); false from scratch")
    scales: Scales = Field([1.0, 0.5, 1.5], description="of the CAMs that make the labels")
    background: tuple[Fraction, Fraction] = Field((0.35, 0.55), description="low and high background score (§4.1)")
    radius: PositiveInt = Field(8, description="cells; pairs farther apart (Chebyshev) are not compared")
    warmup_steps: int = Field(2000, ge=0, description="steps with the classification loss alone")
    refined_steps: int = Field(6000, ge=0, description="first step whose labels are propagated by the affinity")
    segmentation_weight: Weight = Field(0.1, description="factor of L_seg (eq. 14)")
    affinity_weight: Weight = Field(0.1, description="factor of L_aff (eq. 14)")
    dilations: list[PositiveInt] = Field([1, 2, 4, 8, 12, 24], min_length=1, description="of PAR, pixels at ½ size")
    iterations: PositiveInt = Field(10, description="of PAR")


class ToCoMethod(Section):
    """ToCo (Ru 2023): token contrast and a decoder, in one training; a timm ViT."""

    end_to_end: ClassVar[bool] = True
    name: Literal["toco"]
    aux_block: int = Field(-3, description="block of the auxiliary classifier; negative: from the last one")
    cam_scales: Scales = Field([1.0, 0.5, 1.5], description="of the CAMs that supervise")
    low_threshold: Fraction = Field(0.25, description="CAMs up to here are background")
    high_threshold: Fraction = Field(0.7, description="CAMs from here on are a class")
    local_crops: PositiveInt = Field(8, description="mined crops an image (§3.3)")
    crop_size: PositiveInt = Field(96, description="side of a mined crop, pixels")
    temperature: PositiveFloat = Field(0.5, description="of the class-token contrast (eq. 5)")
    momentum: Fraction = Field(0.9, description="of the teacher head's moving average")
    projection: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] = Field(
        [2048, 256, 1024], description="hidden, bottleneck and output width of the projection heads"
    )
    segment_start: int = Field(2000, ge=0, description="first step with the decoder's losses")
    freeze_positions: bool = Field(True, description="position embedding as it is (published); false from scratch")
    energy_sigma_rgb: PositiveFloat = Field(15.0, description="energy loss: grey values of 0..255")
    energy_sigma_xy: PositiveFloat = Field(100.0, description="energy loss: pixels")
    energy_kernel: Literal["lattice", "exact"] = Field("lattice", description="energy loss: exact is slow, a reference")
    weights: dict[Literal["cls", "cls_aux", "ptc", "ctc", "seg", "energy"], Weight] | None = Field(
        None, description="factors of the loss terms; null: 1, 1, 0.2, 0.5, 0.1, 0.05 (§4.1)"
    )


class ACRMethod(Section):
    """ACR (Sun 2023): attention consistent between an image and its mirror; a timm ViT or hybrid."""

    end_to_end: ClassVar[bool] = False
    name: Literal["acr"]
    alpha: Weight = Field(125.0, description="factor of both consistency losses (eq. 6)")
    class_rows: bool = Field(True, description="consistency of the class token's attention to the patches (eq. 4)")
    patch_pairs: bool = Field(True, description="consistency of the attention between patches (eq. 5)")
    localisation: Literal["gradient", "patch"] = Field(
        "gradient", description="class-token attention by its gradient (§3.4), or the classifier on patch tokens"
    )
    gradient_mode: Literal["grad", "grad_s", "cam_grad", "cam_grad_s"] = Field(
        "grad", description="how attention and gradient make a map; see wsss.methods.acr.network.class_token_map"
    )
    start_layer: int = Field(-2, description="first block of the gradient localisation; negative: from the last one")
    refine: bool = Field(True, description="spread the gradient maps along the patches' attention")


MethodSettings = Annotated[CAMMethod | SEAMMethod | AFAMethod | ToCoMethod | ACRMethod, Field(discriminator="name")]
