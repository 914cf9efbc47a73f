"""A step: one use of a stage in a run, with the key that names its folder.

`make_pseudo_labels` appears twice in a run that also measures CAM + CRF. A step's key digests all that decides its
result; so two runs that share a classifier share its folder, and a setting, a file or a commit changed back finds its
results again.
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

    label: its link under `results/{run}/`; the stage's name, with a suffix where a stage is used twice.
    settings: exactly what the stage's program gets.
    contents: digests outside files. upstream: role (`data`, `classifier`, `scores` …) → the step that fills it.
    modules: code that the stage finds by name, so that no import shows it.
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
        """Dotted key → the outside file or folder that a setting names."""
        return dict(settings_below(self.settings, OUTSIDE))

    @functools.cached_property
    def manifest(self) -> Manifest:
        """All that decides the result; where a data set lies is part of it, as the table names files."""
        settings = dict(self.config)
        for key in self.files:
            _forget(settings, key.split("."))
        masks = getattr(self.settings, "reads_masks", False)
        upstream = {role: step.identity if masks else step.unmasked for role, step in self.upstream.items()}
        code = code_digest(f"wsss.stages.{self.stage}", *self.modules)
        return Manifest(self.stage, settings, code, upstream, self._content)

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
        """What steps downstream know it by: as the key, but without the place of a data set."""
        return identity_of(self.manifest)

    @functools.cached_property
    def unmasked(self) -> str:
        """What steps know it by that do not read the masks of a data set: they are not run again for those."""
        return identity_of(self.manifest, masks=False)

    @functools.cached_property
    def _content(self) -> dict[str, str]:
        content = {key: digest(file, self.contents, f"{self.label}.{key}") for key, file in self.files.items()}
        if isinstance(self.settings, Source):
            content |= self.settings.digests(self.contents)
        return content

    @property
    def folder(self) -> Path:
        """Where the step's results lie."""
        return STAGES / self.stage / self.key


def _forget(settings: dict[str, Any], keys: list[str]) -> None:
    """Replaces the place of a file by a mark that there is one; its content stands for it."""
    for key in keys[:-1]:
        settings[key] = dict(settings[key])
        settings = settings[key]
    settings[keys[-1]] = "…"


class StepIndex:
    """Finds a step by (stage, key). Runs that have been planned are searched first, the others only if need be."""

    def __init__(self, runs: Mapping[str, Any], tables: Mapping[str, Sequence[Any]]) -> None:
        """runs: name → plan. tables: name → entries with a plan."""
        self._runs, self._tables = runs, tables
        self._found: dict[tuple[str, str], Step] = {}

    def add(self, plan: Any) -> None:
        """Makes a plan's steps known."""
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
