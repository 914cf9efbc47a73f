"""A step: one use of a stage in a run, with the key that names its folder.

`make_pseudo_labels` occurs twice in a run that also evaluates CAM + CRF. A step's key is a digest of all that
determines its result: two runs that share a classifier share its folder, and reverting a setting, a file or a commit
finds the earlier results again.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wsss.config.common import settings_below
from wsss.config.outside import OUTSIDE, OutsideFile, OutsideFolder
from wsss.data.sources.base import Source
from wsss.plan.code import code_digest
from wsss.plan.inputs import identity_of
from wsss.plan.manifest import Manifest
from wsss.plan.weights import digest
from wsss.runtime.contents import Contents

STAGES = Path("results/stages")


@dataclass(frozen=True)
class Step:
    """One use of a stage in a run.

    label: its link under `results/{run}/`; the stage's name, with a suffix if the stage occurs twice.
    settings: passed unchanged to the stage's program.
    contents: cache of file digests. upstream: role (`data`, `classifier`, `scores` …) → upstream step.
    modules: modules that the stage loads by name, in addition to its imports.
    """

    stage: str
    label: str
    settings: BaseModel
    contents: Contents
    upstream: dict[str, Step] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return self.settings.model_dump(mode="json")

    @functools.cached_property
    def files(self) -> dict[str, OutsideFile | OutsideFolder]:
        """Dotted key → outside file or folder named in the settings."""
        return dict(settings_below(self.settings, OUTSIDE))

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The manifest; for a data set it includes the paths, as its table contains them."""
        settings = dict(self.config)
        for key in self.files:
            _forget(settings, key.split("."))
        masks = getattr(self.settings, "reads_masks", False)
        upstream = {role: step.identity if masks else step.unmasked for role, step in self.upstream.items()}
        code = code_digest(f"wsss.stages.{self.stage}", *self.modules)
        return Manifest(self.stage, settings, code, upstream, self._content, self.modules)

    @functools.cached_property
    def texts(self) -> tuple[str, str]:
        """Settings and manifest as JSON, for the stage's command line."""
        return json.dumps(self.config), self.manifest.text()

    @functools.cached_property
    def key(self) -> str:
        """16 hex digits; equal for equal work."""
        return self.manifest.key

    @functools.cached_property
    def identity(self) -> str:
        """The identity for downstream steps: the key, but without the paths of a data set."""
        return identity_of(self.manifest)

    @functools.cached_property
    def unmasked(self) -> str:
        """The identity for steps that do not read a data set's masks, so that changed masks do not rerun them."""
        return identity_of(self.manifest, masks=False)

    def shards(self, most: int) -> int:
        """Number of jobs for each split, at most `most`.

        Maps from stored features are one job: they take milliseconds an image, and the start of a job takes seconds.
        """
        return 1 if self.stage == "infer_cam" and "features" in self.upstream else most

    @functools.cached_property
    def _content(self) -> dict[str, str]:
        content = {key: digest(file, self.contents, f"{self.label}.{key}") for key, file in self.files.items()}
        if isinstance(self.settings, Source):
            content |= self.settings.digests(self.contents)
        return content

    @property
    def folder(self) -> Path:
        """The folder of the step's results."""
        return STAGES / self.stage / self.key


def _forget(settings: dict[str, Any], keys: list[str]) -> None:
    """Replaces the path of a file by a placeholder; its content is in the manifest instead."""
    for key in keys[:-1]:
        settings[key] = dict(settings[key])
        settings = settings[key]
    settings[keys[-1]] = "…"


class StepIndex:
    """Finds a step by (stage, key), in the runs planned already first."""

    def __init__(self, runs: Mapping[str, Any], tables: Mapping[str, Sequence[Any]]) -> None:
        """runs: name → plan. tables: name → entries with a plan."""
        self._runs, self._tables = runs, tables
        self._found: dict[tuple[str, str], Step] = {}

    def add(self, plan: Any) -> None:
        """Adds a plan's steps."""
        for step in plan.steps:
            self._found.setdefault((step.stage, step.key), step)

    def __getitem__(self, wanted: tuple[str, str]) -> Step:
        if wanted not in self._found:
            for plan in self._all():
                self.add(plan)
                if wanted in self._found:
                    break
            else:
                raise KeyError(f"no run of the configuration has step {wanted[0]} with key {wanted[1]}")
        return self._found[wanted]

    def _all(self) -> Iterator[Any]:
        for name in self._runs:
            yield self._runs[name]
        for entries in self._tables.values():
            yield from (entry.plan for entry in entries)
