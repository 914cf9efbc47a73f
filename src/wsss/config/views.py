"""Settings of the views of an image (scales, mirrors, resampling) and of their fusion.

`InferCam` and `Segment` extend them; `wsss.localise.views` computes the views.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wsss.config.common import Precision, Scales, Section, in_words

ViewScales = Annotated[Scales, Field(description="side lengths relative to the geometry's size")]


class Views(Section):
    """Scaled and mirrored views of an image."""

    scales: ViewScales = Field([1.0])
    flip: bool = Field(True, description="add the mirror image of each view")
    geometry: Literal["own", "longest_edge", "squeeze"] = Field(
        "own",
        description="size of scale 1: the image's own; its longest edge `edge` pixels; or edge × edge, of any shape",
    )
    edge: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="pixels, of longest_edge and squeeze")
    resampling: Literal["antialiased-bilinear", "tensor-bilinear", "pillow-bicubic", "opencv-bilinear"] = Field(
        "antialiased-bilinear",
        description="how to resize: torchvision on 8-bit values; F.interpolate on the normalised image, without "
        "antialiasing (AFA, ToCo); Pillow on 8-bit values (SEAM, PSA, IRN); OpenCV's rule on floats (ACR)",
    )
    rounding: Literal["round", "floor", "floor_step"] = Field(
        "round",
        description="rounding of side · scale to whole pixels: to the nearest, half to even; down; or down, with views "
        "sampled at steps of exactly 1/scale pixels (tensor-bilinear: F.interpolate's scale_factor, AFA's test)",
    )
    amp: Precision = "off"

    @model_validator(mode="after")
    def _edge_belongs_to_geometry(self) -> Views:
        if (self.geometry == "own") != (self.edge is None):
            raise ValueError(f"geometry {self.geometry} with edge {self.edge}: only longest_edge and squeeze have one")
        if self.rounding == "floor_step" and self.resampling != "tensor-bilinear":
            raise ValueError(f"rounding floor_step needs resampling tensor-bilinear; given is {self.resampling}")
        return self

    def words(self) -> str:
        scales = ", ".join(in_words(scale) for scale in self.scales)
        return f"scales {scales}{' with mirrors' if self.flip else ''}"


class CamViews(Views):
    """How class activation maps are computed over views, and fused."""

    localiser: Literal["cam", "aux", "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam"] = Field(
        "cam",
        description="cam: the method's own maps; aux: those of its auxiliary classifier (ToCo); the others take the "
        "gradients of its scores (CNNs)",
    )
    scales: ViewScales = Field([1.0, 0.5, 1.5, 2.0])
    relu: Literal["view", "fused"] = Field(
        "view",
        description="where negative scores become 0: on the network's cells, in every view; or after resizing, where "
        "image and mirror are combined (AFA, ToCo)",
    )
    fusion: Literal["max", "psa", "minmax", "flipmax", "acr", "acr_patch", "clip_es"] = Field(
        "max",
        description="max: IRN; psa: AffinityNet; minmax: SEAM; flipmax: AFA, ToCo; acr, acr_patch: ACR; clip_es: "
        "CLIP-ES, one scale",
    )
    strided: bool = Field(False, description="also store the maps of every 4th pixel, the start of IRNet's walk")

    @model_validator(mode="after")
    def _scales_that_are_fused(self) -> CamViews:
        if self.fusion == "clip_es" and len(self.scales) > 1:
            raise ValueError(f"fusion clip_es takes one scale; found scales {self.scales}")
        return self

    def words(self) -> str:
        return f"{super().words()}, fused by {self.fusion}"


class ScoreViews(Views):
    """How class scores are decoded over views, and fused."""

    scales: ViewScales = Field([0.5, 0.75, 1.0, 1.25, 1.5])
    fusion: Literal["mean", "max", "logits", "afa", "toco", "toco_coco"] = Field(
        "mean",
        description="mean: of the views' probabilities; max, logits: probabilities of the largest or of the mean "
        "scores (logits: SEAM's DeepLab); afa, toco, toco_coco: as in these papers' tests (wsss.segmentation.fusion)",
    )
