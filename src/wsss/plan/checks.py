"""Checks of a run before it computes: one job for its networks and one for its data, each run once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wsss.config.run import Run
from wsss.config.words import Words
from wsss.data.corrections import read_corrections
from wsss.data.dataset import Dataset
from wsss.plan.run import Plan
from wsss.refine.proposals.store import MaskStore


@dataclass(frozen=True)
class Check:
    """A run's settings, and their section in the configuration.

    processes: number of processes that share a training batch. masks: identity of the files of corrections and mask
    proposals.
    """

    where: str
    settings: Run
    processes: int = 1
    masks: str = ""

    @classmethod
    def of(cls, plan: Plan, processes: int) -> Check:
        """The check of a planned run."""
        stages = ["corrections", *(["make_pseudo_labels"] if plan.settings.make_pseudo_labels.masks else [])]
        contents = (json.dumps(step.manifest.content) for step in plan.steps if step.stage in stages)
        return cls(plan.where, plan.settings, processes, "".join(contents))

    @property
    def text(self) -> str:
        """The settings as JSON, for the command line."""
        return self.settings.model_dump_json()

    @property
    def digest(self) -> str:
        """16 hex digits; equal for runs that need the same check."""
        return hashlib.sha256(json.dumps([self.text, self.processes, self.masks]).encode()).hexdigest()[:16]


def check_data(run: Run, dataset: Dataset, where: str) -> None:
    """Checks that a run's data have the masks, and its classes the words, of its settings.

    Raises:
        ValueError: required masks are missing, mask proposals are of other images, or words of other classes; names the
            setting below `where`.
    """
    records = dataset.split("train")
    masks = sum(record.mask is not None for record in records)
    found = f"{masks} of the {len(records)} training images have one"
    if run.choose_threshold.policy == "oracle" and not any(record.measured for record in records):
        if masks:
            found += ", of which none is measured (measure_list, measured)"
        raise ValueError(f"{where}.choose_threshold: oracle needs masks of training images, and {found}; set auto")
    supervised = run.train_segmentation and run.train_segmentation.labels == "ground_truth"
    if (run.upper_bound or supervised) and masks < len(records):
        key = "upper_bound: true" if run.upper_bound else "train_segmentation.labels: ground_truth"
        raise ValueError(f"{where}.{key} needs a mask for every training image, and {found}")
    if (proposals := run.make_pseudo_labels.masks) is not None:
        with named(f"{where}.make_pseudo_labels.masks.file"), MaskStore(proposals.file.path) as store:
            store.require({record.image_id: record.size for record in records})
    if isinstance(words := run.train_classifier.method, Words):
        with named(f"{where}.train_classifier"):
            words.phrases_of(dataset.class_names[1:])
    if run.corrections is not None:
        read_corrections(run.corrections, dataset)


@contextmanager
def named(where: str) -> Iterator[None]:
    """Context that adds the setting to a ValueError; other errors keep their traceback."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
