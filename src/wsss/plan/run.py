"""What a run consists of: its steps, each with the content key that names its folder.

A step is one use of a stage: `make_pseudo_labels` appears twice in a run that also measures CAM + CRF.
Its key hashes the stage, its settings and its upstream steps' keys, and nothing else; so two runs that
share a classifier share its folder, and a setting changed back finds its results again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss.config.data import FolderData
from wsss.config.loading import PRESETS, all_runs, load_run
from wsss.config.run import CRF, PAR, Execution, Run
from wsss.plan.code import code_digest

STAGES = Path("results/stages")


@dataclass(frozen=True)
class Step:
    """One use of a stage in a run.

    label: its link under `results/{run}/`; the stage's name, with a suffix where a stage is used twice.
    config: the stage's own settings, as JSON types.
    upstream: role (`data`, `classifier`, `scores` …) → the step that fills it.
    weights: files that the settings name; they are inputs too.
    """

    stage: str
    label: str
    config: dict[str, Any]
    upstream: dict[str, Step] = field(default_factory=dict)
    weights: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        """16 hex digits; equal for equal work."""
        upstream = {role: step.key for role, step in self.upstream.items()}
        text = json.dumps([self.stage, self.config, upstream], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the step's results lie."""
        return STAGES / self.stage / self.key

    @functools.cached_property
    def code(self) -> str:
        """Digest of the code that the step runs."""
        return code_digest(f"wsss.stages.{self.stage}", *self.modules)


@dataclass(frozen=True)
class Plan:
    """A run's steps in order; the last one is `evaluate`."""

    run: str
    steps: tuple[Step, ...]
    execution: Execution
    settings: Run


def plan_runs(config: Mapping[str, Any], presets: Path = PRESETS) -> dict[str, Plan]:
    """Plans of every run of a configuration, which has the one section `runs`.

    Raises:
        ConfigError: a mistake in any run.
    """
    runs = all_runs(config)
    digests: dict[str, str] = {}
    return {name: plan_run(name, load_run(name, runs, presets), digests) for name in runs}


def plan_run(name: str, run: Run, digests: dict[str, str] | None = None) -> Plan:
    """The steps of one run, upstream first.

    digests: of folders that were looked at for other runs of the same plan; added to.
    """
    builder = _Builder(run, {} if digests is None else digests)
    builder.localise()
    if run.train_classifier.method.end_to_end:
        builder.decode()
    builder.refine()
    if run.train_segmentation is not None:
        builder.segment()
    builder.check_quality()
    builder.evaluate()
    return Plan(name, tuple(builder.steps), run.execution, run)


class _Builder:
    """Collects steps and the rows of miou.csv that they make."""

    def __init__(self, run: Run, digests: dict[str, str]) -> None:
        self.run, self.digests = run, digests
        self.steps: list[Step] = []
        self.rows: list[dict[str, Any]] = []
        self.row_steps: dict[str, Step] = {}

    def add(self, stage: str, config: dict[str, Any], label: str = "", **kwargs: Any) -> Step:
        step = Step(stage, f"{stage}-{label}" if label else stage, config, **kwargs)
        self.steps.append(step)
        return step

    def row(self, name: str, split: str, step: Step, file: str, threshold: Any = None) -> None:
        """A row of miou.csv, measured on `file` of a step; `threshold` only for maps without background."""
        self.rows.append({"stage": name, "split": split, "file": file, "threshold": threshold})
        self.row_steps[f"{name}-{split}"] = step

    def localise(self) -> None:
        run = self.run
        data = run.prepare_data.model_dump(mode="json")
        if run.prepare_data.dataset == "shapes":
            data["rng_seed"] = run.rng_seed
        if run.prepare_data.dataset == "folder":
            data["source_digest"] = _folder_digest(run.prepare_data, self.digests)
        self.data = self.add("prepare_data", data)
        self.classifier = self.add(
            "train_classifier",
            _dump(run.train_classifier) | {"rng_seed": run.rng_seed},
            upstream={"data": self.data},
            weights=_weights(run.train_classifier),
            modules=_method_modules(run),
        )
        self.cams = self.add(
            "infer_cam",
            _dump(run.infer_cam, exclude={"threshold"}),
            upstream={"data": self.data, "classifier": self.classifier},
            modules=_method_modules(run),
        )
        threshold = run.infer_cam.threshold
        self.threshold: dict[str, Step] = {}
        if isinstance(threshold, str):
            upstream = {"data": self.data, "scores": self.cams}
            self.threshold = {"threshold": self.add("choose_threshold", {"policy": threshold}, upstream=upstream)}
        for split in ("train", "val"):
            self.row("cam", split, self.cams, f"{split}.h5", threshold)
        if self._labels_are_cam_crf():
            cam_crf = self.labels = self._labels("", self.cams, run.make_pseudo_labels.crf)
        elif self._may_have_masks():
            cam_crf = self._labels("cam_crf", self.cams, run.make_pseudo_labels.crf or CRF())
        else:
            return
        self.row("cam_crf", "train", cam_crf, "train.h5")

    def decode(self) -> None:
        """Masks straight from a single-stage method."""
        settings = self.run.segment_end_to_end or self.run.segment
        upstream = {"data": self.data, "model": self.classifier}
        masks = self.add("segment", _dump(settings), "end_to_end", upstream=upstream, modules=_method_modules(self.run))
        self.row("end_to_end", "val", masks, "val.h5")
        if settings.crf is not None:
            self.row("end_to_end_crf", "val", masks, "val_crf.h5")

    def refine(self) -> None:
        run = self.run
        self.scores = self.cams
        if self._walks():
            self._walk()
        if not self._labels_are_cam_crf():
            self.labels = self._labels("", self.scores, run.make_pseudo_labels.crf, run.make_pseudo_labels.par)
        self.row("pseudo_label", "train", self.labels, "train.h5")

    def _walks(self) -> bool:
        return self.run.train_affinity is not None and self.run.refine_cam is not None

    def _labels_are_cam_crf(self) -> bool:
        """Whether the pseudo-labels are CAM + CRF itself, which every run with masks measures."""
        settings = self.run.make_pseudo_labels
        return settings.crf is not None and settings.par is None and not self._walks()

    def _may_have_masks(self) -> bool:
        """Whether something may be measured; else a result that is there only for that is not worth its time."""
        data = self.run.prepare_data
        return data.dataset != "folder" or data.masks is not None

    def _walk(self) -> None:
        run = self.run
        upstream = {"data": self.data, "classifier": self.classifier}
        if run.train_affinity.checkpoint is None:
            upstream["labels"] = self.add(
                "make_affinity_labels",
                {"method": run.train_affinity.method} | _dump(run.train_affinity.labels),
                upstream={"data": self.data, "scores": self.cams},
            )
        affinity = self.add(
            "train_affinity",
            _dump(run.train_affinity, exclude={"labels"}) | {"rng_seed": run.rng_seed},
            upstream=upstream,
            weights=_weights(run.train_affinity),
            modules=_method_modules(run),
        )
        self.scores = self.add(
            "refine_cam",
            _dump(run.refine_cam),
            upstream={"data": self.data, "affinity": affinity, "scores": self.cams},
            modules=_method_modules(run),
        )
        self.row("refined", "train", self.scores, "train.h5")

    def _labels(self, label: str, scores: Step, crf: CRF | None, par: PAR | None = None) -> Step:
        """Labels from scores; maps without a background of their own need the threshold."""
        bare = scores is self.cams
        fixed = self.run.infer_cam.threshold if bare and not self.threshold else None
        return self.add(
            "make_pseudo_labels",
            {"par": _dump(par) if par else None, "crf": _dump(crf) if crf else None, "threshold": fixed},
            label,
            upstream={"data": self.data, "scores": scores} | (self.threshold if bare else {}),
        )

    def segment(self) -> None:
        settings = self.run.train_segmentation
        self._segment("", "segmentation", settings.labels)
        if settings.upper_bound and settings.labels != "ground_truth":
            self._segment("upper_bound", "upper_bound", "ground_truth")

    def _segment(self, label: str, row: str, labels: str) -> None:
        run = self.run
        upstream = {"data": self.data}
        if labels == "pseudo_labels":
            upstream["labels"] = self.labels
        if run.train_segmentation.init == "classifier":
            upstream["classifier"] = self.classifier
        config = _dump(run.train_segmentation, exclude={"upper_bound", "labels"})
        model = self.add(
            "train_segmentation",
            config | {"labels": labels, "rng_seed": run.rng_seed},
            label,
            upstream=upstream,
            weights=_weights(run.train_segmentation) if "classifier" not in upstream else (),
        )
        masks = self.add("segment", _dump(run.segment), label, upstream={"data": self.data, "model": model})
        self.row(row, "val", masks, "val.h5")
        if run.segment.crf is not None:
            self.row(f"{row}_crf", "val", masks, "val_crf.h5")

    def check_quality(self) -> None:
        """The sheets that say what to look at, with or without masks."""
        upstream = {"data": self.data, "scores": self.cams, "labels": self.labels} | self.threshold
        fixed = None if self.threshold else self.run.infer_cam.threshold
        self.quality = self.add("quality", {"threshold": fixed}, upstream=upstream)

    def evaluate(self) -> None:
        upstream = {"data": self.data, "quality": self.quality} | self.threshold | self.row_steps
        self.add("evaluate", {"rows": self.rows}, upstream=upstream)


def missing_inputs(plan: Plan) -> str | None:
    """One line on the first file or folder that a run names and that is not there."""
    data = plan.settings.prepare_data
    where = f"runs.{plan.run}.prepare_data"
    if data.dataset == "folder":
        return _missing_in_folder(plan, where) or _missing_weights(plan)
    if data.dataset == "coco" and not (data.root / "annotations").is_dir():
        return f"{where}.root: no folder annotations in '{data.root}'; unpack COCO 2014 there (docs/datasets.md)"
    if data.dataset == "voc" and not data.download and not (data.root / "JPEGImages").is_dir():
        return (
            f"{where}.root: no JPEGImages folder in '{data.root}'; set download: true to get VOC 2012 and SBD, or get "
            "VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and extract it "
            "so that the folder exists, or set root to your VOC folder"
        )
    return _missing_weights(plan)


def _missing_in_folder(plan: Plan, where: str) -> str | None:
    """What the run's own images lack, masks included where a setting needs them."""
    data, run = plan.settings.prepare_data, plan.settings
    if not data.images.is_dir():
        return f"{where}.images: no folder '{data.images}'"
    if not data.labels.is_file():
        return f"{where}.labels: no file '{data.labels}'; a CSV of labels is needed"
    if data.masks is None and run.infer_cam.threshold == "oracle":
        return (
            f"runs.{plan.run}.infer_cam.threshold: oracle needs prepare_data.masks; without masks, set auto or a number"
        )
    settings = run.train_segmentation
    if data.masks is None and settings and (settings.upper_bound or settings.labels == "ground_truth"):
        key = "upper_bound: true" if settings.upper_bound else "labels: ground_truth"
        return f"runs.{plan.run}.train_segmentation: {key} needs prepare_data.masks, one for every image"
    return None


def _missing_weights(plan: Plan) -> str | None:
    """The first weight file that a setting names and that is not there."""
    for step in plan.steps:
        for path in step.weights:
            if not path.is_file():
                return f"runs.{plan.run}.{step.stage}: no checkpoint '{path}'"
    return None


def _folder_digest(data: FolderData, known: dict[str, str]) -> str:
    """Changes with the images, labels and masks themselves; `known` saves looking twice."""
    from wsss.data.sources.folder.index import source_digest_text

    where = str((data.images, data.labels, data.masks))
    if where not in known:
        text = source_digest_text(data.images, data.labels, data.masks)
        known[where] = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
    return known[where]


def _dump(section: Any, **kwargs: Any) -> dict[str, Any]:
    return section.model_dump(mode="json", **kwargs)


def _weights(section: Any) -> tuple[Path, ...]:
    """The weight files that a section names: of the whole network, or else of its backbone."""
    whole, trunk = getattr(section, "checkpoint", None), getattr(section, "backbone", None)
    file = whole or (trunk.checkpoint if trunk else None)
    return (file,) if file else ()


def _method_modules(run: Run) -> tuple[str, ...]:
    """The module of the run's method is loaded by name, so no import shows it."""
    return (f"wsss.methods.{run.train_classifier.method.name}",)
