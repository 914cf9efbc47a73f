"""Planning: the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wsss.config.common import Component, Decodes, PowerBackground, UsesFeatures
from wsss.config.loading import PRESETS, all_runs, load_run
from wsss.config.run import Run
from wsss.config.sections import CRF
from wsss.config.stages import Evaluate, MakePseudoLabels, Quality, Row, TrainSegmentation
from wsss.plan.manifest import NAME, read_manifest
from wsss.plan.steps import Step
from wsss.plan.weights import obtain
from wsss.runtime.contents import Contents


@dataclass(frozen=True)
class Plan:
    """A run's steps, upstream first. section: of the configuration; None: runs.{run}."""

    run: str
    steps: tuple[Step, ...]
    settings: Run
    section: str | None = None

    @property
    def where(self) -> str:
        """The run's section in the configuration, for messages."""
        return self.section or f"runs.{self.run}"

    def step(self, label: str) -> Step:
        """The step with a label, e.g. `evaluate`, or `segment-upper_bound`."""
        return next(step for step in self.steps if step.label == label)

    @property
    def method_code(self) -> tuple[str, ...]:
        """The module of the run's method, which is loaded by name."""
        return _code(self.settings.train_classifier.method)


class Plans(Mapping[str, Plan]):
    """Run → plan. All runs are validated at once; steps are planned, and files digested, on access."""

    def __init__(self, config: Mapping[str, Any], presets: Path = PRESETS) -> None:
        """Validates every run; raises ConfigError for a mistake."""
        runs = all_runs(config)
        self._runs = {name: load_run(name, runs, presets) for name in runs}
        self._contents = Contents()
        self._plans: dict[str, Plan] = {}

    def __getitem__(self, name: str) -> Plan:
        if name not in self._plans:
            self._plans[name] = plan_run(name, self._runs[name], self._contents)
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)


def plan_runs(config: Mapping[str, Any], presets: Path = PRESETS) -> Plans:
    """Plans of every run of a configuration.

    Raises:
        ConfigError: a mistake in any run.
    """
    return Plans(config, presets)


def plan_run(name: str, run: Run, contents: Contents | None = None, section: str | None = None) -> Plan:
    """The steps of one run, upstream first. contents: digests shared with other runs. section: as in `Plan`."""
    builder = _Builder(run, contents or Contents())
    builder.localise()
    if isinstance(run.train_classifier.method, Decodes):
        builder.decode()
    builder.refine()
    if run.train_segmentation is not None:
        builder.segment()
    builder.check_quality()
    builder.evaluate()
    return Plan(name, tuple(builder.steps), run, section)


class _Builder:
    """Collects the steps and the rows of miou.csv that they provide."""

    def __init__(self, run: Run, contents: Contents) -> None:
        self.run, self.contents = run, contents
        self.steps: list[Step] = []
        self.rows: list[Row] = []
        self.row_steps: dict[str, Step] = {}
        self.method_code = _code(run.train_classifier.method)

    def add(self, stage: str, settings: BaseModel, label: str = "", **kwargs: Any) -> Step:
        step = Step(stage, f"{stage}-{label}" if label else stage, settings, self.contents, **kwargs)
        self.steps.append(step)
        return step

    def row(self, name: str, split: str, step: Step, file: str) -> None:
        """A row of miou.csv, measured on `file` of a step."""
        self.rows.append(Row(stage=name, split=split, file=file))
        self.row_steps[f"{name}-{split}"] = step

    def localise(self) -> None:
        run = self.run
        self.data = self.add("prepare_data", run.prepare_data, modules=_code(run.prepare_data))
        self.features = None
        if run.compute_features is not None:
            self.features = self.add("compute_features", run.compute_features, upstream={"data": self.data})
        method = run.train_classifier.method
        upstream = {"data": self.data} | self._features(method)
        self.classifier = self.add(
            "train_classifier", run.train_classifier, upstream=upstream, modules=self.method_code
        )
        upstream = {"data": self.data, "classifier": self.classifier} | self._features(method)
        self.cams = self.add("infer_cam", run.infer_cam, upstream=upstream, modules=self.method_code)
        upstream = {"data": self.data, "scores": self.cams}
        self.threshold = self.add("choose_threshold", run.choose_threshold, upstream=upstream)
        for split in ("train", "val"):
            self.row("cam", split, self.cams, f"{split}.h5")
        if self._labels_are_cam_crf():
            cam_crf = self.labels = self._labels("", self.cams, run.make_pseudo_labels)
        elif run.prepare_data.has_masks and run.measure_cam_crf:  # used for evaluation only
            power = run.make_pseudo_labels.background_power
            plain = MakePseudoLabels(crf=run.make_pseudo_labels.crf or CRF(), background_power=power)
            cam_crf = self._labels("cam_crf", self.cams, plain)
        else:
            return
        self.row("cam_crf", "train", cam_crf, "train.h5")

    def _features(self, user: BaseModel) -> dict[str, Step]:
        """The step with stored features, if the settings use them."""
        return {"features": self.features} if isinstance(user, UsesFeatures) and user.uses_features else {}

    def decode(self) -> None:
        """Adds the masks that a single-stage method decodes."""
        settings = self.run.segment_end_to_end or self.run.segment
        upstream = {"data": self.data, "model": self.classifier}
        masks = self.add("segment", settings, "end_to_end", upstream=upstream, modules=self.method_code)
        self.row("end_to_end", "val", masks, "val.h5")
        if settings.crf is not None:
            self.row("end_to_end_crf", "val", masks, "val_crf.h5")

    def refine(self) -> None:
        run = self.run
        self.scores = self.cams
        if run.refine_cam is not None:
            self.scores = self._refined()
            self.row("refined", "train", self.scores, "train.h5")
        if not self._labels_are_cam_crf():
            self.labels = self._labels("", self.scores, run.make_pseudo_labels)
        if run.corrections is not None:
            upstream = {"data": self.data, "labels": self.labels}
            modules = run.corrections.modules
            self.labels = self.add("corrections", run.corrections, upstream=upstream, modules=modules)
        self.row("pseudo_label", "train", self.labels, "train.h5")

    def _labels_are_cam_crf(self) -> bool:
        """Whether the pseudo-labels are CAM + CRF, which every run with masks evaluates."""
        settings = self.run.make_pseudo_labels
        more = settings.par is not None or settings.masks is not None
        return settings.crf is not None and not more and self.run.refine_cam is None

    def _refined(self) -> Step:
        run = self.run
        upstream = {"data": self.data, "classifier": self.classifier, "scores": self.cams}
        upstream |= self._features(run.refine_cam)
        modules = (*_code(run.refine_cam), *self.method_code)
        if run.train_affinity is not None:
            upstream["affinity"] = self._affinity()
            modules += _code(run.train_affinity)
        return self.add("refine_cam", run.refine_cam, upstream=upstream, modules=modules)

    def _affinity(self) -> Step:
        run = self.run
        upstream = {"data": self.data} | self._features(run.train_affinity)
        if "features" not in upstream and run.train_affinity.backbone is None:
            upstream["classifier"] = self.classifier
        if run.make_affinity_labels is not None and getattr(run.train_affinity, "checkpoint", None) is None:
            upstream["labels"] = self.add(
                "make_affinity_labels",
                run.make_affinity_labels,
                upstream={"data": self.data, "scores": self.cams} | self._features(run.make_affinity_labels),
                modules=_code(run.make_affinity_labels),
            )
        return self.add("train_affinity", run.train_affinity, upstream=upstream, modules=_code(run.train_affinity))

    def _labels(self, label: str, scores: Step, settings: MakePseudoLabels) -> Step:
        """Adds labels from scores; maps without a background map need the threshold, others may have one."""
        upstream = {"data": self.data, "scores": scores}
        chosen = self.run.choose_threshold
        if scores is self.cams:
            upstream["threshold"] = self.threshold
        elif chosen.refined and (chosen.policy != "auto" or isinstance(self.run.refine_cam, PowerBackground)):
            # auto leaves other background maps unchanged
            upstream["threshold"] = self.add(
                "choose_threshold", chosen, "refined", upstream={"data": self.data, "scores": scores}
            )
        return self.add("make_pseudo_labels", settings, label, upstream=upstream)

    def segment(self) -> None:
        settings = self.run.train_segmentation
        self._segment("", "segmentation", settings)
        if self.run.upper_bound and settings.labels != "ground_truth":
            self._segment("upper_bound", "upper_bound", settings.model_copy(update={"labels": "ground_truth"}))

    def _segment(self, label: str, row: str, settings: TrainSegmentation) -> None:
        upstream = {"data": self.data}
        if settings.labels == "pseudo_labels":
            upstream["labels"] = self.labels
        if settings.init == "classifier":
            upstream["classifier"] = self.classifier
        upstream |= self._features(settings)
        model = self.add("train_segmentation", settings, label, upstream=upstream, modules=self.method_code)
        upstream = {"data": self.data, "model": model} | self._features(settings)
        masks = self.add("segment", self.run.segment, label, upstream=upstream)
        self.row(row, "val", masks, "val.h5")
        if self.run.segment.crf is not None:
            self.row(f"{row}_crf", "val", masks, "val_crf.h5")

    def check_quality(self) -> None:
        """Adds the tables of what to check by eye, with or without masks."""
        upstream = {"data": self.data, "scores": self.cams, "labels": self.labels, "threshold": self.threshold}
        features = self._features(self.run.train_classifier.method)
        upstream |= features | ({"classifier": self.classifier} if features else {})
        self.add("quality", Quality(), upstream=upstream, modules=self.method_code if features else ())

    def evaluate(self) -> None:
        upstream = {"data": self.data, "threshold": self.threshold} | self.row_steps
        self.add("evaluate", Evaluate(rows=self.rows), upstream=upstream)


def _code(component: Component) -> tuple[str, ...]:
    """The module of a component, which is loaded by name and therefore in no import."""
    return (component.module(),)


def missing_inputs(plan: Plan, *, download: bool = False) -> str | None:
    """One line on the first file or folder of a run that does not exist or is another's, or on missing masks, or None.

    download: download weight files with a URL; otherwise they count as existing.
    """
    run, where = plan.settings, plan.where
    if (missing := run.prepare_data.missing()) is not None:
        return f"{where}.prepare_data.{missing}"
    if not run.prepare_data.has_masks:
        needed = run.prepare_data.masks_from
        if run.choose_threshold.policy == "oracle":
            return f"{where}.choose_threshold: oracle needs {needed}; without masks, set auto or a number"
        if run.upper_bound or (run.train_segmentation and run.train_segmentation.labels == "ground_truth"):
            key = "upper_bound: true" if run.upper_bound else "train_segmentation.labels: ground_truth"
            return f"{where}.{key} needs {needed}, one for every image"
    for step in plan.steps:
        for key, file in step.files.items():
            later = not download and file.address and file.stated_sha256
            if not later and (problem := obtain(file)):
                return f"{where}.{step.stage}.{key}: {problem}"
    return next(filter(None, map(_foreign, plan.steps)), None)


def _foreign(step: Step) -> str | None:
    """One line if a step's folder holds other results than its name tells; None if it is right, or not there."""
    if not (step.folder / NAME).exists():
        return None
    try:
        found = read_manifest(step.folder).key
    except ValueError as error:
        return str(error)
    return None if found == step.key else f"{step.folder}: holds the results of step {found}; remove the folder"
