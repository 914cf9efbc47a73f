"""Results of a finished run, read from `results/{run}/run.json` and the stage folders named in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from wsss.config.hints import lacking, making
from wsss.config.stages import SECTIONS
from wsss.data.dataset import Dataset
from wsss.runtime.files import regular
from wsss.runtime.records import AGAIN, read_record, read_table, require_keys

FEW = 30
"""Number of images below which a mIoU is marked as uncertain."""
_NEEDED = ("threshold", "threshold_source", "miou", "m_fn", "m_fp", "pixel_accuracy", "images")


@dataclass(frozen=True)
class StepResults:
    """One step: its label in the run, its stage, and role → label of its upstream steps."""

    label: str
    stage: str
    folder: Path
    upstream: dict[str, str]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The step's settings."""
        path = self.folder / "config.yaml"
        return read_record(path) if os.path.lexists(path) else {}

    @property
    def words(self) -> str:
        """The settings in one line; empty if they are of another version."""
        try:
            return TypeAdapter(SECTIONS[self.stage]).validate_python(self.config).words()
        except (KeyError, ValidationError):
            return ""

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Time and device of each of its jobs."""
        files = sorted((self.folder / "timing").glob("*.json"))
        return [read_record(path, seconds=(int, float), device=str) for path in files]

    @property
    def seconds(self) -> float:
        """Computing time, summed over its jobs, which may have run in parallel."""
        return sum(job["seconds"] for job in self.jobs)

    @property
    def history(self) -> pd.DataFrame | None:
        """Losses and learning rates of a training run, one row per step."""
        path = self.folder / "history.csv"
        return read_table(path, "lr") if os.path.lexists(path) else None


@dataclass(frozen=True)
class Layer:
    """A row of the table and the file of its maps. name: `pseudo_label`, …; split: train or val."""

    name: str
    split: str
    file: Path
    threshold: float | None

    @property
    def title(self) -> str:
        return title(self.name)


class RunResults:
    """Everything about the run in `folder` (`results/{run}`).

    Raises:
        ValueError: the run is not complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "run.json").is_file():
            raise ValueError(lacking(folder, "no run.json there"))
        outline = read_record(folder / "run.json", run=str, published=dict, steps=list)
        self.name: str = outline["run"]
        self.published: dict[str, dict[str, Any]] = outline["published"]
        for step in outline["steps"]:
            require_keys(folder / "run.json", step, label=str, stage=str, upstream=dict)
        named = {step["label"] for step in outline["steps"]}
        if strange := {label for step in outline["steps"] for label in map(str, step["upstream"].values())} - named:
            raise ValueError(f"{folder / 'run.json'}: damaged (there is no step {min(strange)}); {AGAIN}")
        if absent := {"prepare_data", "evaluate"} - named:
            raise ValueError(f"{folder / 'run.json'}: damaged (there is no step {sorted(absent)[0]}); {AGAIN}")
        self.steps = {
            step["label"]: StepResults(step["label"], step["stage"], folder / step["label"], step["upstream"])
            for step in outline["steps"]
        }
        if gone := next(
            (s.folder for s in self.steps.values() if s.folder.is_symlink() and not s.folder.exists()), None
        ):
            raise ValueError(f"{gone}: is not there any more; make it again with: {making(folder)}")

    @cached_property
    def dataset(self) -> Dataset:
        return Dataset(self.steps["prepare_data"].folder)

    @property
    def evaluation(self) -> StepResults:
        return self.steps["evaluate"]

    @cached_property
    def table(self) -> pd.DataFrame:
        """miou.csv; empty without masks."""
        return self._of_its_rows(self.folder / "miou.csv")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """mIoU, m_FN and m_FP over thresholds."""
        return self._of_its_rows(self.evaluation.folder / "curve.csv", "threshold")

    def threshold_curves(self) -> Iterator[tuple[str, str, pd.DataFrame, pd.Series]]:
        """Stage, split, curve and row of the table, of each curve."""
        for (stage, split), curve in self.curves.groupby(["stage", "split"], sort=False):
            row = self.table[(self.table["stage"] == stage) & (self.table["split"] == split)].iloc[0]
            yield stage, split, curve, row

    def _of_its_rows(self, path: Path, *numbers: str) -> pd.DataFrame:
        """A table on the evaluated maps. numbers: columns without gaps."""
        table = read_table(path, "stage", "split", "miou", *numbers)
        known = {(layer.name, layer.split) for layer in self.layers}
        strange = next(
            (row for row in table[["stage", "split"]].itertuples(index=False, name=None) if row not in known), None
        )
        if strange is not None or table[list(numbers)].isna().any(axis=None):
            what = f"{strange} is no row of the run" if strange else f"{' or '.join(numbers)} is missing in a row"
            raise ValueError(f"{path}: damaged ({what}); {AGAIN}")
        return table

    @cached_property
    def confusions(self) -> dict[str, np.ndarray]:
        """`{stage}-{split}` → (C, C + 1) pixel counts."""
        path = self.evaluation.folder / "confusion.npz"
        try:
            with np.load(regular(path), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise
        except Exception as error:  # zipfile, zlib and numpy raise many types
            raise ValueError(f"{path}: damaged ({str(error).partition(chr(10))[0]}); {AGAIN}") from None

    @cached_property
    def layers(self) -> list[Layer]:
        """Maps of every stage of the table, in its order, also without masks."""
        chosen = self._chosen_threshold()
        found = []
        path = self.evaluation.folder / "config.yaml"
        for row in require_keys(path, self.evaluation.config, rows=list)["rows"]:
            require_keys(path, row, stage=str, split=str, file=str)
            role = f"{row['stage']}-{row['split']}"
            require_keys(self.folder / "run.json", self.evaluation.upstream, **{role: str})
            step = self.steps[self.evaluation.upstream[role]]
            found.append(Layer(row["stage"], row["split"], step.folder / row["file"], chosen))
        return found

    def _chosen_threshold(self) -> float | None:
        """The background score, if a stage chose one."""
        label = self.evaluation.upstream.get("threshold")
        if label is None:
            return None
        return read_record(self.steps[label].folder / "threshold.json", threshold=(int, float))["threshold"]

    def require_whole(self) -> None:
        """Raises ValueError unless the table has the columns that were written, and a row for each evaluated map."""
        path = self.folder / "miou.csv"
        table = read_table(path, "stage", "split", *_NEEDED, *(f"iou_{name}" for name in self.dataset.class_names))
        rows = sorted(f"{row.stage}-{row.split}" for row in table.itertuples())
        if rows != sorted(self.confusions) or table["images"].isna().any():
            raise ValueError(f"{path}: damaged (its rows are not those that were measured); {AGAIN}")

    def final(self, split: str) -> str | None:
        """The final row of a split: the last one that is no upper bound."""
        names = [layer.name for layer in self.layers if layer.split == split and not is_bound(layer.name)]
        return names[-1] if names else None


_TITLES = {
    "cam": "CAM",
    "cam_crf": "CAM + CRF",
    "refined": "Refined",
    "pseudo_label": "Pseudo-label",
    "segmentation": "Prediction",
    "segmentation_crf": "Prediction + CRF",
    "upper_bound": "Full supervision",
    "upper_bound_crf": "Full supervision + CRF",
    "end_to_end": "End-to-end prediction",
    "end_to_end_crf": "End-to-end prediction + CRF",
}


def title(row: str) -> str:
    """A row's title."""
    return _TITLES.get(row, row.replace("_", " "))


def is_bound(row: str) -> bool:
    """Whether a row is an upper bound, trained on the masks."""
    return row.startswith("upper_bound")
