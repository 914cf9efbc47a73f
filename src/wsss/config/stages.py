"""Settings of the stages: one section per stage, named after it, passed unchanged to the stage's program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from wsss.config.common import Count, Fraction, Section, Untrained, UsesFeatures, in_words
from wsss.config.decoders import listed, options_of
from wsss.config.outside import OutsideFile, OutsideFolder
from wsss.config.registry import FORMATS, METHODS, REFINEMENTS, SOURCES
from wsss.config.sections import CRF, PAR, Backbone, Proposals, Training
from wsss.config.views import CamViews, ScoreViews, Views

PrepareData = SOURCES.union()
MakeAffinityLabels = REFINEMENTS.union("Labels")
TrainAffinity = REFINEMENTS.union("Training")
RefineCam = REFINEMENTS.union()


class ComputeFeatures(Views):
    """Features of every image from a frozen network, computed once for all their users."""

    backbone: Backbone
    stages: list[int | Literal["final"]] = Field(
        ["final"],
        min_length=1,
        description="outputs of the network: a stage's number, counted from 0, or from -1 backwards; final: the input "
        "of the network's own classifier",
    )
    flip: bool = Field(False, description="add the mirror image of each view")

    def words(self) -> str:
        return f"{self.backbone.words()}, frozen; {super().words()}"


class TrainClassifier(Section):
    """A classifier on image-level labels whose activations localise the classes."""

    method: METHODS.union() = Field(default_factory=lambda: METHODS["cam"].Settings(name="cam"))
    backbone: Backbone = Backbone(name="resnet50", output_stride=16)
    checkpoint: OutsideFile | None = Field(
        None, description="published weights of the whole method to start from (SEAM, PSA, IRN, AFA, ToCo, ACR)"
    )
    training: Training | None = Field(Training(), description="null: use the checkpoint as it is")
    rng_seed: int = Field(0, ge=0, description="of weights, batches and augmentation; by default the run's")

    @model_validator(mode="after")
    def _weights_from_somewhere(self) -> TrainClassifier:
        if isinstance(self.method, Untrained | UsesFeatures):
            if self.training is not None:
                raise ValueError(f"method '{self.method.name}' does not train its network: set training to null")
            return self
        if self.training is None and self.checkpoint is None:
            raise ValueError("training: null leaves random weights; name the checkpoint to use")
        return self

    def words(self) -> str:
        options = {n: v for n, v in self.method if n != "name" and isinstance(v, str | int | float)}
        listed = ", ".join(f"{name.replace('_', ' ')} {in_words(value)}" for name, value in options.items())
        learns = (
            "fitted to stored features"
            if isinstance(self.method, UsesFeatures)
            else "published weights, not trained further"
        )
        trained = learns if self.training is None else self.training.words()
        named = f"{self.method.name.upper()}{f' ({listed})' if listed else ''}"
        return f"{named} on {self.backbone.words()}; {trained}"


class InferCam(CamViews):
    """Multi-scale, flipped inference of class activation maps."""


def policy_of(given: Any) -> Any:
    """The mapping that a number or a policy's name abbreviates; anything else unchanged."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return given
    return {"policy": given} if isinstance(given, str) else {"policy": "fixed", "value": given}


class ChooseThreshold(Section):
    """The background score of maps without a background map, and the background's weight in maps with one."""

    policy: Literal["masks", "oracle", "auto", "fixed"] = Field(
        "oracle",
        description="masks: the score nearest to auto's among those statistically as good as the best on the training "
        "masks, or auto without masks; oracle: the best on the training masks, as in papers; auto: from the maps "
        "alone; fixed: `value`. See docs/thresholds.md",
    )
    value: Fraction | None = Field(None, description="fixed: the background score")
    highest: Annotated[float, Field(ge=0, le=0.99)] = Field(
        0.59,
        exclude_if=lambda score: score == 0.59,
        description="oracle: the best of 0.00, 0.01 … up to this (SEAM 0.59, ACR 0.99)",
    )
    refined: bool = Field(
        False,
        exclude_if=lambda refined: not refined,
        description="also choose the weight of the background of refine_cam's maps in the pseudo-labels: a class wins "
        "where its share of class + background is above the chosen score; 0.5, auto's choice, changes nothing",
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        """Expands a number or a policy's name."""
        return policy_of(given)

    @model_validator(mode="after")
    def _value_if_fixed(self) -> ChooseThreshold:
        if (self.policy == "fixed") != (self.value is not None):
            raise ValueError(
                f"policy {self.policy} with value {self.value}; a value belongs to policy fixed, only there"
            )
        return self

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return self.policy in ("masks", "oracle")

    def words(self) -> str:
        chosen = f"background score by policy '{self.policy}'" if self.value is None else f"{self.value:g}, as set"
        return f"{chosen}; of refined maps too" if self.refined else chosen


class MakePseudoLabels(Section):
    """Conversion of score maps to pseudo-labels."""

    par: PAR | None = Field(None, description="refine the scores by PAR or PAMR, before the CRF if there is one")
    crf: CRF | None = Field(CRF(), description="null: no CRF")
    background_power: PositiveFloat | None = Field(
        None,
        exclude_if=lambda power: power is None,
        description="exponent p of the background (1 − max)^p, used instead of a threshold where maps have no "
        "background map; CLIP-ES 1",
    )
    confidence: Fraction | None = Field(
        None,
        exclude_if=lambda share: share is None,
        description="pixels whose highest share is below this are ignored (255); CLIP-ES 0.95",
    )
    masks: Proposals | None = Field(
        None,
        exclude_if=lambda masks: masks is None,
        description="merge mask proposals into the labels, after the CRF; images without proposals keep their labels",
    )

    @model_validator(mode="after")
    def _masks_of_labels_or_of_scores(self) -> MakePseudoLabels:
        if self.masks is not None and self.masks.merge == "fma" and (self.crf or self.par or self.confidence):
            raise ValueError("masks.merge fma reads the scores themselves: set crf, par and confidence to null")
        return self

    def words(self) -> str:
        parts = [*([self.par.kernel.upper()] if self.par else []), *([self.crf.words()] if self.crf else [])]
        parts += [self.masks.words()] if self.masks else []
        return "; ".join(parts) or "the highest score wins"


class Corrections(Section):
    """Masks of some training images corrected by hand, which replace these images' pseudo-labels."""

    masks: OutsideFolder = Field(
        description="folder (or file) of masks named by image id; a path alone abbreviates the section"
    )
    format: str = Field(
        "auto", description="png, coco, labelme, cvat or yolo, as in `wsss labels import`; auto: detected"
    )
    ids: OutsideFile | None = Field(
        None,
        exclude_if=lambda ids: ids is None,
        description="CSV whose column image_id lists the corrected images, as the gallery exports it; null: all masks",
    )

    @model_validator(mode="before")
    @classmethod
    def _place_alone(cls, given: Any) -> Any:
        return {"masks": given} if isinstance(given, str | Path) else given

    @model_validator(mode="after")
    def _format_that_is_read(self) -> Corrections:
        if self.format != "auto" and self.format not in (names := readable_formats()):
            raise ValueError(f"format '{self.format}'; accepted are auto, {', '.join(names)}")
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that read the format, whose code counts in the stage's key."""
        names = readable_formats() if self.format == "auto" else [self.format]
        return tuple(FORMATS[name].Settings.reader.partition(":")[0] for name in names)

    def words(self) -> str:
        return f"masks of {self.masks} take the place of pseudo-labels"


def readable_formats() -> list[str]:
    """The formats that can be read as well as written."""
    return [name for name, module in FORMATS.modules.items() if hasattr(module.Settings, "reader")]


class TrainSegmentation(Section, UsesFeatures):
    """A segmentation network on the pseudo-labels."""

    architecture: Literal[
        "DeepLabV3Plus", "DeepLabV3", "FPN", "Unet", "PSPNet", "LargeFOV", "DeepLabV2", "TokenDecoder", "FeatureDecoder"
    ] = Field(
        "DeepLabV3Plus",
        description="on a timm CNN: those of segmentation_models_pytorch; on any backbone: LargeFOV (DeepLab v1, as "
        "SEAM retrained it) and DeepLabV2 (sum of four dilated convolutions); on a frozen transformer: TokenDecoder "
        "(WeCLIP's); on stored features: FeatureDecoder (convolutions)",
    )
    options: dict[str, Any] = Field(
        {},
        description=f"further arguments, of segmentation_models_pytorch, or with these defaults; {listed()}",
    )
    stages: list[int | Literal["final"]] | None = Field(
        None,
        exclude_if=lambda stages: stages is None,
        description="FeatureDecoder: its inputs among compute_features.stages",
    )
    backbone: Backbone = Backbone(name="resnet101", output_stride=16)
    init: Literal["backbone", "classifier"] = Field(
        "backbone", description="initial weights: the backbone's own, or the trained classifier's"
    )
    labels: Literal["pseudo_labels", "ground_truth"] = Field(
        "pseudo_labels", description="ground_truth: full supervision instead"
    )
    correction_weight: Count = Field(
        4,
        exclude_if=lambda weight: weight == 4,
        description="how many times as often a corrected image is drawn as another; 1: equally often",
    )
    training: Training = Training()
    rng_seed: int = Field(0, ge=0, description="of weights, batches and augmentation; by default the run's")

    @model_validator(mode="after")
    def _stages_of_a_decoder(self) -> TrainSegmentation:
        if self.uses_features != (self.stages is not None) or (self.uses_features and self.init == "classifier"):
            raise ValueError("stages and architecture FeatureDecoder belong together, with init: backbone")
        options_of(self.architecture, self.options)
        return self

    @property
    def uses_features(self) -> bool:
        return self.architecture == "FeatureDecoder"

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return self.labels == "ground_truth"

    def words(self) -> str:
        start = "the classifier's backbone" if self.init == "classifier" else self.backbone.words()
        labels = "the masks" if self.labels == "ground_truth" else "the pseudo-labels"
        return f"{self.architecture} on {start}, trained on {labels}; {self.training.words()}"


class Segment(ScoreViews):
    """Multi-scale, flipped inference of the segmentation network."""

    crf: CRF | None = Field(None, description="null: no row segmentation_crf")

    def words(self) -> str:
        return f"{super().words()}{f'; then {self.crf.words()}' if self.crf else ''}"


class Quality(Section):
    """Tables of the classes and images to check by eye, with or without masks."""


class Row(Section):
    """A row of miou.csv: stage, split, and the file that is measured."""

    stage: str
    split: Literal["train", "val"]
    file: str


class Evaluate(Section):
    """The rows of miou.csv, in order."""

    rows: list[Row]

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return True

    def words(self) -> str:
        return f"{len(self.rows)} rows, each from one pooled confusion matrix"


SECTIONS: Mapping[str, Any] = {
    "prepare_data": PrepareData,
    "compute_features": ComputeFeatures,
    "train_classifier": TrainClassifier,
    "infer_cam": InferCam,
    "choose_threshold": ChooseThreshold,
    "make_affinity_labels": MakeAffinityLabels,
    "train_affinity": TrainAffinity,
    "refine_cam": RefineCam,
    "make_pseudo_labels": MakePseudoLabels,
    "corrections": Corrections,
    "train_segmentation": TrainSegmentation,
    "segment": Segment,
    "quality": Quality,
    "evaluate": Evaluate,
}
"""Stage → the type of its settings."""

SHARDED: Mapping[str, tuple[str, ...]] = {
    "compute_features": ("train", "val"),
    "infer_cam": ("train", "val"),
    "make_affinity_labels": ("train",),
    "refine_cam": ("train",),
    "make_pseudo_labels": ("train",),
    "segment": ("val",),
}
"""Sharded stage → its splits."""
