"""Settings of the stages: one section per stage, named after it, passed unchanged to the stage's program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from wsss.config.common import Section, Stages
from wsss.config.labelling import ChooseThreshold, Corrections, MakePseudoLabels
from wsss.config.networks import TrainClassifier, TrainSegmentation
from wsss.config.registry import REFINEMENTS, SOURCES
from wsss.config.sections import CRF, Backbone
from wsss.config.views import CamViews, ScoreViews, Views

PrepareData = SOURCES.union()
MakeAffinityLabels = REFINEMENTS.union("Labels")
TrainAffinity = REFINEMENTS.union("Training")
RefineCam = REFINEMENTS.union()


class ComputeFeatures(Views):
    """Features of every image from a frozen network, computed once for all their users."""

    backbone: Backbone
    stages: Stages = Field(
        ["final"],
        description="outputs of the network: a stage's number, counted from 0, or from -1 backwards; final: the input "
        "of the network's own classifier; keys: of a transformer's last attention",
    )
    flip: bool = Field(False, description="add the mirror image of each view")

    def words(self) -> str:
        return f"{self.backbone.words()}, frozen; {super().words()}"


class InferCam(CamViews):
    """Multi-scale, flipped inference of class activation maps."""


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
