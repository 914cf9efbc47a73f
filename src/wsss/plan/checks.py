"""Checks of a run before it computes: one job for its networks and one for its data, each run once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from wsss.config.run import Run
from wsss.data.corrections import read_corrections
from wsss.data.dataset import Dataset
from wsss.plan.run import Plan


@dataclass(frozen=True)
class Check:
    """A run's settings, and their section in the configuration.

    processes: number of processes that share a training batch. corrections: digest of the masks.
    """

    where: str
    settings: Run
    processes: int = 1
    corrections: str = ""

    @classmethod
    def of(cls, plan: Plan, processes: int) -> Check:
        contents = (json.dumps(step.manifest.content) for step in plan.steps if step.stage == "corrections")
        return cls(plan.where, plan.settings, processes, "".join(contents))

    @property
    def text(self) -> str:
        """The settings as JSON, for the command line."""
        return self.settings.model_dump_json()

    @property
    def digest(self) -> str:
        """16 hex digits; equal for runs that need the same check."""
        return hashlib.sha256(json.dumps([self.text, self.processes, self.corrections]).encode()).hexdigest()[:16]


def check_data(run: Run, folder: Path, where: str) -> None:
    """Checks that a run's data have the masks that its settings need. folder: of prepare_data.

    Raises:
        ValueError: required masks are missing; names the setting below `where`.
    """
    dataset = Dataset(folder)
    records = dataset.split("train")
    masks = sum(record.mask is not None for record in records)
    found = f"{masks} of the {len(records)} training images have one"
    if run.choose_threshold.policy == "oracle" and not masks:
        raise ValueError(f"{where}.choose_threshold: oracle needs masks of training images, and {found}; set auto")
    supervised = run.train_segmentation and run.train_segmentation.labels == "ground_truth"
    if (run.upper_bound or supervised) and masks < len(records):
        key = "upper_bound: true" if run.upper_bound else "train_segmentation.labels: ground_truth"
        raise ValueError(f"{where}.{key} needs a mask for every training image, and {found}")
    if run.corrections is not None:
        read_corrections(run.corrections, dataset)
