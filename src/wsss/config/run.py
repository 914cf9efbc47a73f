"""Every setting of a run: type, unit, meaning and source. The one truth about the configuration.

A run is described by one section a stage, named after the stage. Sections set to null take their stage
out of the run's graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from wsss.config.common import Fraction, Range, Section
from wsss.config.data import DataSettings
from wsss.config.methods import CAMMethod, MethodSettings

# --- building blocks -------------------------------------------------------------------------------------


class Backbone(Section):
    """The network under a classifier."""

    name: str = Field(
        description="any timm model with intermediate features (ViTs with their tokens); resnet38 (Wu 2019); mit_b0 … "
        "mit_b5 (Xie 2021); irn_resnet50 …: timm's ResNet with IRNet's stride 16, not dilated",
    )
    output_stride: Literal[8, 16, 32] | None = Field(
        None, description="pixels per cell of a timm CNN's last features, by dilation; null: the network's own"
    )
    pretrained: bool = Field(True, description="download timm's ImageNet weights, where there are any")
    checkpoint: Path | None = Field(
        None,
        description="weights file instead of a download: of this network (timm's, or a published .pth, .safetensors or "
        "MXNet .params), or of a published classifier built on it",
    )
    options: dict[str, Any] = Field(
        {},
        description="further arguments: of timm (pad_type, img_size, drop_path_rate …); of MiT (strides, hidden_sizes, "
        "drop_path_rate …); of ViTs also position_interpolation, sigma_eps, mean, std (see wsss.backbones.vit); of "
        "both stem: {name: …, output_stride: …}, a timm CNN under the transformer",
    )


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
    batch_size: PositiveInt = Field(16, description="images of a step, over all processes")
    accumulate: PositiveInt = Field(
        1,
        exclude_if=lambda parts: parts == 1,
        description="parts that a step's images are computed in, to save memory; BatchNorm that is trained sees one "
        "part at a time",
    )
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augmentation = Augmentation()
    freeze_stages: int | None = Field(None, ge=0, description="stem and this many stages are not trained")
    freeze_batch_norm: bool = Field(False, description="the pretrained network's BatchNorm keeps its statistics")
    amp: Literal["off", "auto", "bf16", "fp16"] = Field(
        "off", description="mixed precision; auto: bf16 if the GPU or CPU has instructions for it, else off"
    )
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


class TrainClassifier(Section):
    """A classifier on image-level labels whose activations localise the classes."""

    method: MethodSettings = CAMMethod(name="cam")
    backbone: Backbone = Backbone(name="resnet50", output_stride=16)
    checkpoint: Path | None = Field(
        None, description="published weights of the whole method to start from (SEAM, PSA, IRN, AFA, ToCo, ACR)"
    )
    training: Training | None = Field(Training(), description="null: use the checkpoint as it is")

    @model_validator(mode="after")
    def _weights_from_somewhere(self) -> TrainClassifier:
        if self.training is None and self.checkpoint is None:
            raise ValueError("training: null leaves random weights; name the checkpoint to use")
        return self


class InferCam(Section):
    """Multi-scale, flipped inference of class activation maps."""

    localiser: Literal["cam", "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam"] = Field(
        "cam", description="cam: the method's own maps; the others take the gradients of its scores (CNNs)"
    )
    scales: list[PositiveFloat] = Field([1.0, 0.5, 1.5, 2.0], min_length=1)
    flip: bool = True
    amp: Literal["off", "bf16", "fp16"] = Field(
        "off", description="mixed precision on a GPU; a CPU computes in float32"
    )
    fusion: Literal["max", "minmax", "flipmax"] = Field("max", description="max: IRN; minmax: SEAM; flipmax: AFA, ToCo")
    threshold: Fraction | Literal["oracle", "auto"] = Field(
        "oracle",
        description="background score; `oracle` takes the best on the training masks and says so; `auto` needs no "
        "masks (docs/thresholds.md)",
    )


class AffinityLabels(Section):
    """Confident labels that supervise AffinityNet: CRFs on two background scores (Ahn & Kwak 2018, §3.2)."""

    low_alpha: PositiveFloat = Field(4, description="background (1 − max CAM)^α, generous to foreground-free")
    high_alpha: PositiveFloat = Field(24, description="background (1 − max CAM)^α, strict")
    crf: CRF = CRF()


class IRNetLabels(Section):
    """Confident labels that supervise IRNet: CRFs on the labels of two thresholds (Ahn 2019, §4.1)."""

    foreground_threshold: Fraction = Field(0.30, description="background score above which a class is certain")
    background_threshold: Fraction = Field(0.05, description="background score below which background is certain")
    gt_prob: Annotated[float, Field(gt=0, lt=1)] = Field(0.7, description="how far the CRF trusts a given label")
    crf: CRF = CRF(bilateral_sxy=50, bilateral_srgb=5)


class AffinityNet(Section):
    """Semantic affinities between neighbouring cells (Ahn & Kwak 2018)."""

    method: Literal["affinitynet"]
    stride: Literal[4, 8, 16] = Field(8, description="pixels per cell of the affinity grid")
    radius: Annotated[int, Field(ge=2)] = Field(5, description="cells; pairs closer than this are compared")
    inner_pairs: bool = Field(False, description="train on cells that have all neighbours in the crop only, as PSA ran")
    channels: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        [64, 128, 256], description="features taken from each of the last stages; three in the paper"
    )
    labels: AffinityLabels = AffinityLabels()
    checkpoint: Path | None = Field(None, description="published AffinityNet of PSA or SEAM, used as it is")
    training: Training = Training()


class IRNet(Section):
    """Class boundaries and displacements to object centres (Ahn 2019), on the classifier's frozen backbone.

    The boundary branch trains with lr, the displacement branch with head_lr_multiplier × lr.
    """

    method: Literal["irnet"]
    stride: Literal[4, 8] = Field(4, description="pixels per cell of the boundary map")
    radius: Annotated[int, Field(ge=2)] = Field(10, description="cells; pairs closer than this are compared")
    inner_pairs: bool = Field(False, description="train on cells that have all neighbours in the crop only, as IRN ran")
    labels: IRNetLabels = IRNetLabels()
    checkpoint: Path | None = Field(None, description="published boundary network of IRN, used as it is")
    training: Training = Training()


class AffinityWalk(Section):
    """Random walk over AffinityNet's affinities, with the background as a class of its own."""

    method: Literal["affinitynet"]
    alpha: PositiveFloat = Field(6, description="background (1 − max CAM)^α before the walk")
    beta: PositiveFloat = Field(8, description="exponent of the affinities in the transition matrix")
    steps: PositiveInt = Field(64, description="steps of the walk (a power of two in the papers)")


class BoundaryWalk(Section):
    """Random walk that stops at IRNet's boundaries; scores are relative to the image's highest."""

    method: Literal["irnet"]
    radius: Annotated[int, Field(ge=2)] = Field(5, description="cells; how far one step reaches")
    beta: PositiveFloat = Field(10, description="exponent of the affinities in the transition matrix")
    steps: PositiveInt = Field(256, description="steps of the walk (a power of two in the papers)")
    threshold: Fraction = Field(0.25, description="background score after the walk")


class PAR(Section):
    """Pixel-adaptive refinement (Ru 2022, AFA eq. 7-9)."""

    dilations: list[PositiveInt] = Field([1, 2, 4, 8, 12, 24], min_length=1, description="pixels")
    iterations: PositiveInt = 10


class MakePseudoLabels(Section):
    """Refined scores to labels."""

    par: PAR | None = Field(None, description="refine the scores by PAR, before the CRF if there is one")
    crf: CRF | None = Field(CRF(), description="null: no CRF")


class TrainSegmentation(Section):
    """A segmentation network on the pseudo-labels."""

    architecture: Literal["DeepLabV3Plus", "DeepLabV3", "FPN", "Unet", "PSPNet"] = "DeepLabV3Plus"
    options: dict[str, Any] = Field({}, description="further arguments of segmentation_models_pytorch")
    backbone: Backbone = Backbone(name="resnet101", output_stride=16)
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
    fusion: Literal["mean", "max"] = Field(
        "mean", description="of probabilities over scales and mirrors; max: of the scores, element-wise (AFA)"
    )
    amp: Literal["off", "bf16", "fp16"] = Field(
        "off", description="mixed precision on a GPU; a CPU computes in float32"
    )
    crf: CRF | None = Field(None, description="null: no row segmentation_crf")


class Execution(Section):
    """How to compute; nothing here changes a result."""

    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    shards: PositiveInt = Field(4, description="jobs that an inference or CRF stage is cut into")
    workers: int | None = Field(None, ge=0, description="loader processes of a training; null: by the machine")
    processes: PositiveInt = Field(1, description="processes of a training on one machine, each on a GPU of its own")
    recompute_activations: bool = Field(
        False, description="in trainings keep few activations and compute them twice: less memory, a third more time"
    )
    upper_bound_beside: bool = Field(
        False,
        description="train the upper bound and the affinity network side by side, each on half of a CPU's cores; "
        "faster for small networks, and rounded otherwise",
    )
    checkpoint_seconds: PositiveFloat = Field(60, description="seconds between training checkpoints")
    tensorboard: bool = Field(False, description="event files of trainings, in results/{run}/train_*/tensorboard")


class Published(Section):
    """A paper's number, shown beside the run's own."""

    miou: float = Field(ge=0, le=100, description="percent")
    source: str = Field(description="paper, venue and year; what differs from this run, if anything")


class Run(Section):
    """One run: from labels to mIoU."""

    rng_seed: int = Field(0, ge=0, description="of the generated data and of every training")
    execution: Execution = Execution()
    prepare_data: DataSettings
    train_classifier: TrainClassifier = TrainClassifier()
    infer_cam: InferCam = InferCam()
    train_affinity: Annotated[AffinityNet | IRNet, Field(discriminator="method")] | None = None
    refine_cam: Annotated[AffinityWalk | BoundaryWalk, Field(discriminator="method")] | None = None
    make_pseudo_labels: MakePseudoLabels = MakePseudoLabels()
    train_segmentation: TrainSegmentation | None = TrainSegmentation()
    segment: Segment = Segment()
    published: dict[str, dict[str, Published]] = Field(
        {}, description="data set → row of miou.csv (e.g. pseudo_label-train) → what a paper reports; for the report"
    )
    segment_end_to_end: Segment | None = Field(
        None, description="masks straight from a single-stage method (afa, toco); null: as in segment"
    )

    @model_validator(mode="after")
    def _end_to_end_needs_a_decoder(self) -> Run:
        method = self.train_classifier.method
        if self.segment_end_to_end is not None and not method.end_to_end:
            raise ValueError(f"segment_end_to_end: method '{method.name}' decodes no masks; accepted are afa and toco")
        return self

    @model_validator(mode="after")
    def _one_affinity_method(self) -> Run:
        if self.train_affinity and self.refine_cam and self.train_affinity.method != self.refine_cam.method:
            trained, walked = self.train_affinity.method, self.refine_cam.method
            raise ValueError(f"train_affinity.method is {trained}, but refine_cam.method {walked}; make them the same")
        return self
