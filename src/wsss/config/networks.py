"""Settings of the stages that train a network of images: train_classifier, train_segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from wsss.config.common import Count, Section, Stages, Untrained, UsesFeatures, in_words
from wsss.config.decoders import listed, options_of
from wsss.config.outside import OutsideFile
from wsss.config.registry import METHODS
from wsss.config.sections import Backbone, Training

_ON_FEATURES = ("epochs", "batch_size", "stop_after", "optimizer", "schedule")
"""Settings of a training run that act where no image is read."""


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
        details = ", ".join(f"{name.replace('_', ' ')} {in_words(value)}" for name, value in options.items())
        learns = (
            "fitted to stored features"
            if isinstance(self.method, UsesFeatures)
            else "published weights, not trained further"
        )
        trained = learns if self.training is None else self.training.words()
        named = f"{self.method.name.upper()}{f' ({details})' if details else ''}"
        return f"{named} on {self.backbone.words()}; {trained}"


class TrainSegmentation(Section, UsesFeatures):
    """A segmentation network on the pseudo-labels."""

    architecture: Literal[
        "DeepLabV3Plus", "DeepLabV3", "FPN", "Unet", "PSPNet", "LargeFOV", "DeepLabV2", "TokenDecoder", "FeatureDecoder"
    ] = Field(
        "DeepLabV3Plus",
        description="on a timm CNN: those of segmentation_models_pytorch; on any backbone: LargeFOV (DeepLab v1, as "
        "SEAM retrained it) and DeepLabV2 (sum of four dilated convolutions); on a frozen transformer: TokenDecoder "
        "(WeCLIP's); on stored features: FeatureDecoder (convolutions), or TokenDecoder with `stages`",
    )
    options: dict[str, Any] = Field(
        {},
        description=f"further arguments, of segmentation_models_pytorch, or with these defaults; {listed()}",
    )
    stages: Stages | None = Field(
        None,
        exclude_if=lambda stages: stages is None,
        description="inputs of FeatureDecoder or TokenDecoder among compute_features.stages, instead of the images",
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
        stored, convolutions = self.uses_features, self.architecture == "FeatureDecoder"
        if (convolutions and not stored) or (stored and not (convolutions or self.architecture == "TokenDecoder")):
            raise ValueError(
                "stages belong to architecture FeatureDecoder, which needs them, or TokenDecoder; "
                f"found {self.architecture} with stages {self.stages}"
            )
        if stored and self.init == "classifier":
            raise ValueError("init: classifier does not go with stages: the features are those of compute_features")
        options = options_of(self.architecture, self.options)
        if stored and options.get("blocks") is not None:
            raise ValueError("options.blocks does not go with stages, which take its place")
        return self

    @model_validator(mode="after")
    def _training_that_acts_on_features(self) -> TrainSegmentation:
        if self.uses_features and (idle := next(_idle_on_features(self.training), None)):
            raise ValueError(
                f"training.{idle} has no effect on stored features; with stages, accepted are "
                f"{', '.join(_ON_FEATURES)} and augment.flip"
            )
        return self

    @property
    def uses_features(self) -> bool:
        return self.stages is not None

    @property
    def reads_masks(self) -> bool:
        """Whether the result depends on the data set's masks."""
        return self.labels == "ground_truth"

    def words(self) -> str:
        start = "the classifier's backbone" if self.init == "classifier" else self.backbone.words()
        labels = "the masks" if self.labels == "ground_truth" else "the pseudo-labels"
        return f"{self.architecture} on {start}, trained on {labels}; {self.training.words(self.uses_features)}"


def _idle_on_features(training: Training) -> Iterator[str]:
    """The settings that differ from their defaults and have no effect in training on stored features."""
    ours, augment = Training(), training.augment
    yield from (n for n, value in training if n not in (*_ON_FEATURES, "augment") and value != getattr(ours, n))
    yield from (f"augment.{n}" for n, value in augment if n != "flip" and value != getattr(ours.augment, n))
