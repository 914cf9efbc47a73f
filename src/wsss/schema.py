"""Every setting of a run: type, unit, meaning and source. The one truth about the configuration.

A run is described by one section a stage, named after the stage. Sections set to null take their stage
out of the run's graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class Section(BaseModel):
    """A group of settings; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


# --- data ------------------------------------------------------------------------------------------------


class ShapesData(Section):
    """Generated images of five kinds of figures on textured ground, with exact masks."""

    dataset: Literal["shapes"]
    train: PositiveInt = Field(500, description="number of training images")
    val: PositiveInt = Field(150, description="number of validation images")


class VOCData(Section):
    """A VOCdevkit year folder: JPEGImages, SegmentationClass, ImageSets/Segmentation."""

    dataset: Literal["voc"]
    root: Path = Field(Path("data/VOCdevkit/VOC2012"), description="folder that holds JPEGImages/")
    train_list: str = Field("trainaug", description="image list under ImageSets/Segmentation")
    val_list: str = Field("val", description="image list under ImageSets/Segmentation")
    labels: str = Field(
        "annotations",
        description="image-level labels from `annotations` (Annotations/*.xml), `masks`, or the path of a CSV "
        "with columns image,labels (class names separated by spaces)",
    )
    measure_list: str | None = Field(
        "train", description="training images whose masks measure the seeds (the papers use VOC's own 1464)"
    )


# --- building blocks -------------------------------------------------------------------------------------


class Backbone(Section):
    """The network under a classifier."""

    name: str = Field("resnet50", description="any timm model with intermediate features, or resnet38")
    output_stride: Literal[8, 16, 32] | None = Field(16, description="pixels per cell of the last features")
    pretrained: bool = Field(True, description="download timm's ImageNet weights")
    checkpoint_path: Path | None = Field(None, description="local weights instead of a download")
    options: dict[str, Any] = Field({}, description="further keyword arguments for timm, e.g. pad_type: same")


class Optimizer(Section):
    """Optimizer and its parameter groups."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = Field(0.1, description="peak learning rate of the pretrained weights")
    momentum: Fraction = Field(
        0.9, description="SGD only. SEAM's, PSA's and IRN's code ran with their weight decay here, not 0.9"
    )
    weight_decay: float = Field(1e-4, ge=0)
    head_lr_multiplier: PositiveFloat = Field(10, description="learning rate of new layers, × lr")
    bias_lr_multiplier: PositiveFloat = Field(1, description="learning rate of biases, × their layer's")
    decay_biases: bool = Field(True, description="weight decay on biases and norm layers as well")
    clip_grad_norm: PositiveFloat | None = Field(None, description="largest norm of the whole gradient")


class Schedule(Section):
    """Learning rate over the steps of a training."""

    name: Literal["poly", "warmup_poly", "one_cycle", "cosine", "constant"] = "poly"
    power: PositiveFloat = Field(0.9, description="exponent p of (1 − step/steps)^p")
    warmup_steps: int = Field(0, ge=0, description="warmup_poly: steps of linear warm-up")
    warmup_ratio: PositiveFloat = Field(1e-6, description="warmup_poly: first learning rate, × lr")


class Augmentation(Section):
    """What a training image goes through, in this order."""

    longest_edge: Range | None = Field(None, description="pixels; longest edge drawn from U[low, high]")
    scale: Range | None = Field(None, description="factor drawn from U[low, high]; after longest_edge, if both")
    flip: bool = Field(True, description="horizontal, with probability ½")
    colour_jitter: Annotated[list[float], Field(min_length=4, max_length=4)] | None = Field(
        None, description="brightness, contrast, saturation, hue: half-widths of their ranges"
    )
    crop: PositiveInt = Field(512, description="pixels; square, at random, padded where the image is smaller")


class Training(Section):
    """The training loop."""

    epochs: PositiveFloat = 5
    batch_size: PositiveInt = 16
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augmentation = Augmentation()
    freeze_stages: int | None = Field(None, ge=0, description="stem and this many stages are not trained")
    freeze_batch_norm: bool = Field(False, description="keep BatchNorm's pretrained running statistics")
    amp: Literal["off", "bf16", "fp16"] = Field("off", description="mixed precision")
    channels_last: bool = Field(True, description="memory format; faster for CNNs")


class CRF(Section):
    """DenseCRF (Krähenbühl & Koltun 2011); methods differ in these numbers."""

    gaussian_sxy: PositiveFloat = Field(3, description="pixels")
    gaussian_weight: float = Field(3, ge=0)
    bilateral_sxy: PositiveFloat = Field(80, description="pixels")
    bilateral_srgb: PositiveFloat = Field(13, description="grey values of 0..255")
    bilateral_weight: float = Field(10, ge=0)
    steps: PositiveInt = Field(10, description="mean-field iterations")
    backend: Literal["auto", "pydensecrf", "torch"] = "auto"


# --- stages ----------------------------------------------------------------------------------------------


class CAMMethod(Section):
    """Class activation maps (Zhou 2016): global pooling and a 1×1 convolution."""

    name: Literal["cam"]
    pooling: Literal["average", "max", "top_quarter"] = Field(
        "average", description="over positions; top_quarter averages the highest 25 % and learns from scratch"
    )
    dropout: Fraction = Field(0.0, description="of whole feature channels, before the classifier")


class TrainClassifier(Section):
    """A classifier on image-level labels whose activations localise the classes."""

    method: CAMMethod = CAMMethod(name="cam")
    backbone: Backbone = Backbone()
    training: Training = Training()


class InferCam(Section):
    """Multi-scale, flipped inference of class activation maps."""

    scales: list[PositiveFloat] = Field([1.0, 0.5, 1.5, 2.0], min_length=1)
    flip: bool = True
    fusion: Literal["max", "minmax", "flipmax"] = Field("max", description="max: IRN; minmax: SEAM; flipmax: AFA, ToCo")
    threshold: Fraction | Literal["oracle"] = Field(
        "oracle", description="background score; `oracle` takes the best on the training masks and says so"
    )


class AffinityLabels(Section):
    """Confident labels that supervise affinities: CRFs on two background scores (AffinityNet §3.2)."""

    low_alpha: PositiveFloat = Field(4, description="background (1 − max CAM)^α, generous to foreground-free")
    high_alpha: PositiveFloat = Field(24, description="background (1 − max CAM)^α, strict")
    crf: CRF = CRF()


class TrainAffinity(Section):
    """AffinityNet (Ahn & Kwak 2018)."""

    method: Literal["affinitynet"] = "affinitynet"
    stride: Literal[4, 8, 16] = Field(8, description="pixels per cell of the affinity grid")
    radius: PositiveInt = Field(5, description="cells; pairs closer than this are compared")
    channels: Annotated[list[PositiveInt], Field(min_length=3, max_length=3)] = Field(
        [64, 128, 256], description="features taken from each of the last three stages"
    )
    labels: AffinityLabels = AffinityLabels()
    training: Training = Training()


class RefineCam(Section):
    """Random walk over the learned affinities."""

    alpha: PositiveFloat = Field(6, description="background (1 − max CAM)^α before the walk")
    beta: PositiveFloat = Field(8, description="exponent of the affinities in the transition matrix")
    steps: PositiveInt = Field(64, description="steps of the walk (a power of two in the papers)")


class MakePseudoLabels(Section):
    """Refined scores to labels."""

    crf: CRF | None = Field(CRF(), description="null: no CRF")


class TrainSegmentation(Section):
    """A segmentation network on the pseudo-labels."""

    architecture: Literal["DeepLabV3Plus", "DeepLabV3", "FPN", "Unet", "PSPNet"] = "DeepLabV3Plus"
    options: dict[str, Any] = Field({}, description="further arguments of segmentation_models_pytorch")
    backbone: Backbone = Backbone(name="resnet101")
    init: Literal["backbone", "classifier"] = Field(
        "backbone", description="start from the backbone's own weights, or from the trained classifier's"
    )
    labels: Literal["pseudo_labels", "ground_truth"] = Field(
        "pseudo_labels", description="ground_truth: full supervision instead"
    )
    upper_bound: bool = Field(
        False, description="also train the same network on the masks; miou.csv gains the row upper_bound"
    )
    training: Training = Training()


class Segment(Section):
    """Multi-scale, flipped inference of the segmentation network."""

    scales: list[PositiveFloat] = Field([0.5, 0.75, 1.0, 1.25, 1.5], min_length=1)
    flip: bool = True
    crf: CRF | None = Field(None, description="null: no row segmentation_crf")


class Execution(Section):
    """How to compute; nothing here changes a result."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    shards: PositiveInt = Field(4, description="jobs that an inference or CRF stage is cut into")
    workers: int | None = Field(None, ge=0, description="loader processes of a training; null: by the machine")
    checkpoint_seconds: PositiveFloat = Field(60, description="seconds between training checkpoints")


class Run(Section):
    """One run: from labels to mIoU."""

    rng_seed: int = Field(0, ge=0, description="of the generated data and of every training")
    execution: Execution = Execution()
    prepare_data: Annotated[ShapesData | VOCData, Field(discriminator="dataset")]
    train_classifier: TrainClassifier = TrainClassifier()
    infer_cam: InferCam = InferCam()
    train_affinity: TrainAffinity | None = None
    refine_cam: RefineCam | None = None
    make_pseudo_labels: MakePseudoLabels = MakePseudoLabels()
    train_segmentation: TrainSegmentation | None = TrainSegmentation()
    segment: Segment = Segment()
