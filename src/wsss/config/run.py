"""A run: one section per stage. A section set to null removes its stage from the run's DAG."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveFloat, field_validator, model_validator

from wsss.config.common import DEVICE, Decodes, Section, UsesFeatures, in_words
from wsss.config.messages import nearest
from wsss.config.registry import REFINEMENTS, SOURCES
from wsss.config.stages import (
    ChooseThreshold,
    ComputeFeatures,
    Corrections,
    InferCam,
    MakeAffinityLabels,
    MakePseudoLabels,
    PrepareData,
    RefineCam,
    Segment,
    TrainAffinity,
    TrainClassifier,
    TrainSegmentation,
)

SEEDED = ("prepare_data", "train_classifier", "train_affinity", "train_segmentation")
"""Sections that may have an `rng_seed`."""
ROWS = ("cam-train", "cam-val", "cam_crf-train", "refined-train", "pseudo_label-train")
ROWS += tuple(f"{name}{crf}-val" for name in ("end_to_end", "segmentation", "upper_bound") for crf in ("", "_crf"))
"""Rows that miou.csv may have."""


class Execution(Section):
    """How to compute: nothing here is in any key, and a change recomputes nothing."""

    device: str = Field("auto", pattern=DEVICE, description="auto, cpu, cuda or cuda:N")
    shards: int = Field(4, ge=1, le=10_000, description="jobs that an inference or CRF stage is cut into")
    workers: int | None = Field(None, ge=0, le=1024, description="loader processes in training; null: by the CPUs")
    processes: int = Field(
        1, ge=1, le=1024, description="processes of a training run on one machine, each on its own GPU"
    )
    recompute_activations: bool = Field(
        False, description="activation checkpointing in training: less memory, a third more time"
    )
    upper_bound_beside: bool = Field(
        False,
        description="train the upper bound and the affinity network side by side, each on half of a CPU's cores; "
        "faster for small networks; the results differ in their last bits",
    )
    checkpoint_seconds: PositiveFloat = Field(60, description="seconds between training checkpoints")
    tensorboard: bool = Field(False, description="event files of training runs, in results/{run}/train_*/tensorboard")


class Published(Section):
    """A paper's mIoU, shown beside the run's."""

    miou: float = Field(ge=0, le=100, description="percent")
    source: str = Field(description="paper, venue and year; any difference from this run")


class Run(Section):
    """One run: from labels to mIoU."""

    rng_seed: int = Field(0, ge=0, description="random seed of every section that has one and does not set it")
    prepare_data: PrepareData
    compute_features: ComputeFeatures | None = Field(
        None, description="features of a frozen network, for methods, refinements and decoders that use them"
    )
    train_classifier: TrainClassifier = TrainClassifier()
    infer_cam: InferCam = InferCam()
    choose_threshold: ChooseThreshold = ChooseThreshold()
    make_affinity_labels: MakeAffinityLabels | None = Field(
        None, description="null: the defaults of refine_cam's method, if it trains a network"
    )
    train_affinity: TrainAffinity | None = None
    refine_cam: RefineCam | None = None
    make_pseudo_labels: MakePseudoLabels = MakePseudoLabels()
    corrections: Corrections | None = Field(
        None, description="masks of some training images corrected by hand, used instead of their pseudo-labels"
    )
    train_segmentation: TrainSegmentation | None = TrainSegmentation()
    upper_bound: bool = Field(
        False, description="also train the segmentation network on the masks; miou.csv gains the row upper_bound"
    )
    measure_cam_crf: bool = Field(
        True, description="add the row cam_crf to miou.csv where there are masks, at the cost of a CRF per image"
    )
    segment: Segment = Segment()
    segment_end_to_end: Segment | None = Field(
        None, description="inference of the masks that a single-stage method decodes; null: as in segment"
    )
    published: dict[str, dict[str, Published]] = Field(
        {}, description="data set → row of miou.csv (e.g. pseudo_label-train) → a paper's number, for the report"
    )

    @field_validator("published")
    @classmethod
    def _of_known_rows(cls, given: dict[str, dict[str, Published]]) -> dict[str, dict[str, Published]]:
        for dataset, rows in given.items():
            for name, known in ((dataset, tuple(SOURCES.modules)), *((row, ROWS) for row in rows)):
                if name not in known:
                    raise ValueError(f"'{name}' is none of {', '.join(known)}{nearest(name, known)}")
        return given

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, given: Any) -> Any:
        """Passes the run's seed to the sections that set none."""
        if not isinstance(given, dict) or "rng_seed" not in given:
            return given
        given = dict(given)
        for name in SEEDED:
            section = given.get(name, {} if name in ("train_classifier", "train_segmentation") else None)
            if isinstance(section, dict) and _has_seed(name, section):
                given[name] = {"rng_seed": given["rng_seed"], **section}
        return given

    @model_validator(mode="after")
    def _features_for_those_who_use_them(self) -> Run:
        computed, users = self.compute_features, self._users()
        if users and computed is None:
            first = next(iter(users))
            raise ValueError(f"{first} uses features of a frozen network; set compute_features: {{backbone: …}}")
        for name, section in (
            ("train_classifier.method", self.train_classifier),
            ("train_segmentation", self.train_segmentation),
        ):
            if name in users and computed.backbone != section.backbone:
                raise ValueError(f"{name.split('.')[0]}.backbone is not that of compute_features; make them the same")
        return self

    @model_validator(mode="after")
    def _end_to_end_needs_a_decoder(self) -> Run:
        method = self.train_classifier.method
        if self.segment_end_to_end is not None and not isinstance(method, Decodes):
            raise ValueError(f"segment_end_to_end: method '{method.name}' decodes no masks")
        return self

    @model_validator(mode="after")
    def _one_refinement(self) -> Run:
        refinement, network = self.refine_cam, self.train_affinity
        if refinement is None:
            return self
        if getattr(refinement, "start", "full") == "strided" and not self.infer_cam.strided:
            raise ValueError("refine_cam.start is strided, but infer_cam.strided is false; set it to true")
        component = REFINEMENTS[refinement.method]
        if not hasattr(component, "Training"):
            if network is not None:
                raise ValueError(
                    f"train_affinity: refine_cam.method {refinement.method} trains no network; set it to null"
                )
            return self
        if network is None:
            raise ValueError(
                f"refine_cam.method {refinement.method} needs train_affinity: {{method: {refinement.method}, …}}"
            )
        for name in ("train_affinity", "make_affinity_labels"):
            section = getattr(self, name)
            if section is not None and section.method != refinement.method:
                raise ValueError(
                    f"{name}.method is {section.method}, but refine_cam.method {refinement.method}; make them the same"
                )
        if self.make_affinity_labels is None and getattr(network, "checkpoint", None) is None:
            self.make_affinity_labels = component.Labels(method=refinement.method)
        return self

    @model_validator(mode="after")
    def _features_that_are_computed(self) -> Run:
        users, computed = self._users(), self.compute_features
        views = {"infer_cam": self.infer_cam} if "train_classifier.method" in users else {}
        views |= {"segment": self.segment} if "train_segmentation" in users else {}
        for name, section in (users | views).items():
            if lost := _lost_features(section, computed):
                raise ValueError(f"{name}.{lost}")
            if name in views and section.flip and not computed.flip:
                raise ValueError(f"{name}.flip: true needs features of mirrors; set compute_features.flip to true")
            if getattr(section, "localiser", "cam") != "cam":
                raise ValueError(f"{name}.localiser {section.localiser} needs images; of stored features, set cam")
            if name in views and section.edge not in (None, computed.edge):
                raise ValueError(f"{name}.edge: {section.edge} is not that of compute_features; set geometry to own")
        return self

    def _users(self) -> dict[str, UsesFeatures]:
        """Key → section, of those that use features of a frozen network."""
        parts = {
            "train_classifier.method": self.train_classifier.method,
            "make_affinity_labels": self.make_affinity_labels,
            "train_affinity": self.train_affinity,
            "refine_cam": self.refine_cam,
            "train_segmentation": self.train_segmentation,
        }
        return {name: part for name, part in parts.items() if isinstance(part, UsesFeatures) and part.uses_features}


def _lost_features(wanted: Any, computed: ComputeFeatures) -> str | None:
    """The key and value of a section's first stage or scale that compute_features lacks, or None."""
    for key in ("stage", "stages", "scale", "scales"):
        given = getattr(wanted, key, None)
        there = computed.stages if key.startswith("stage") else computed.scales
        for value in given if isinstance(given, list) else [given]:
            if value is not None and value not in there:
                return f"{key} {in_words(value)} is wanted; compute_features.{key.rstrip('s')}s has {there}"
    return None


def _has_seed(name: str, section: dict[str, Any]) -> bool:
    """Whether a section with these settings has the field `rng_seed`."""
    components = {"prepare_data": (SOURCES, "Settings"), "train_affinity": (REFINEMENTS, "Training")}
    if name not in components:
        return True
    registry, role = components[name]
    settings = getattr(registry.modules.get(section.get(registry.tag, "")), role, None)
    return settings is not None and "rng_seed" in settings.model_fields
