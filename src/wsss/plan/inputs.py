"""Comparison of a step's inputs on disk with its plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wsss.config.common import Component, settings_below
from wsss.config.outside import OUTSIDE, OutsideFile, OutsideFolder
from wsss.config.registry import SOURCES, component_packages
from wsss.data.sources.base import Source
from wsss.plan.code import code_digest, source_digest
from wsss.plan.manifest import Manifest, read_manifest
from wsss.plan.weights import digest, obtain
from wsss.runtime.contents import Contents

PLANNED = "WSSS_SOURCES"
"""Variable of the environment that tells the stages the `source_digest` of the code that they were planned with."""


def check_inputs(manifest: Manifest, settings: BaseModel, inputs: Mapping[str, Path | None]) -> None:
    """Checks that inputs are as planned: the code, the upstream steps, and the files named in the settings.

    inputs: role → folder of a step, or a file in it.

    Raises:
        ValueError: an input differs.
    """
    check_code(manifest)
    for role, path in inputs.items():
        if path is None or role not in manifest.upstream:
            continue
        folder = path if path.is_dir() else path.parent
        there = read_manifest(folder)
        if manifest.upstream[role] not in (identity_of(there), identity_of(there, masks=False)):
            planned = manifest.upstream[role]
            raise ValueError(f"{folder}: holds the results of step {identity_of(there)}, planned was {planned}")
    contents = Contents()
    if isinstance(settings, Source) and settings.digests(contents).items() - manifest.content.items():
        raise ValueError(
            f"the files of data set '{settings.dataset}' changed since the run was planned; start it again"
        )
    for key, file in settings_below(settings, OUTSIDE):
        _require(file)
        if digest(file, contents, key) != manifest.content.get(key):
            raise ValueError(f"{file}: changed since the run was planned; start it again")


def check_code(manifest: Manifest) -> None:
    """Raises ValueError if the stage would run other code than planned: a file was edited, or updated, meanwhile.

    Comparing the bytes of all files is quick, and enough where nothing was.
    """
    if os.environ.get(PLANNED) == source_digest(*component_packages()):
        return
    if code_digest(f"wsss.stages.{manifest.stage}", *manifest.modules) != manifest.code:
        raise ValueError(f"the code of {manifest.stage} changed since the run was planned; start it again")


def manifest_of(stage: str, settings: BaseModel, inputs: Mapping[str, Path | None]) -> Manifest:
    """The manifest of a stage that is started by hand, from its current inputs."""
    contents = Contents()
    content = {}
    for key, file in settings_below(settings, OUTSIDE):
        _require(file)
        content[key] = digest(file, contents, key)
    upstream: dict[str, str] = {}
    components = [settings, *(part for _, part in settings_below(settings, Component))]
    modules = {part.module() for part in components if isinstance(part, Component)}
    for role, path in inputs.items():
        if path is None:
            continue
        try:
            found = read_manifest(path if path.is_dir() else path.parent)
            upstream[role] = identity_of(found)
            modules |= set(found.modules)
        except ValueError:
            files = sorted(path.glob("*.*")) if path.is_dir() else [path]
            content[role] = contents.digest([(file.name, file) for file in files], role)
    if isinstance(settings, Source):
        content |= settings.digests(contents)
    code = code_digest(f"wsss.stages.{stage}", *modules)
    return Manifest(stage, settings.model_dump(mode="json"), code, upstream, content, sorted(modules))


def _require(file: OutsideFile | OutsideFolder) -> None:
    """Raises ValueError for a file that cannot be obtained, or has another SHA-256 than stated."""
    if problem := obtain(file):
        raise ValueError(problem)


def identity_of(manifest: Manifest, *, masks: bool = True) -> str:
    """The identity of a step for downstream steps: its key; for a data set, without the paths of its files.

    masks: False for steps that do not read the masks used only for evaluation.
    """
    places = places_of(manifest)
    if not places:
        return manifest.key
    settings = {name: value for name, value in manifest.settings.items() if name not in places}
    content = {role: digest for role, digest in manifest.content.items() if masks or role != "masks"}
    return Manifest(manifest.stage, settings, manifest.code, manifest.upstream, content).key


def places_of(manifest: Manifest) -> frozenset[str]:
    """The names of a data set's settings that are paths of its files."""
    source: Any = (
        SOURCES.modules.get(manifest.settings.get("dataset", "")) if manifest.stage == "prepare_data" else None
    )
    return source.Settings.places if source else frozenset()
