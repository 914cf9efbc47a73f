"""The configuration of `wsss run`: written for the data, or found and compared with them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from wsss.cli.findings import SHOWN
from wsss.cli.init import Request, prepare, write_config
from wsss.config.loading import all_runs, read_config
from wsss.data.changes import changes, labels_of
from wsss.data.dataset import Dataset
from wsss.data.sources.folder.index import Survey
from wsss.runtime.files import regular, write_atomically


def settle_config(request: Request, console: Console, *, force: bool) -> tuple[Path, np.ndarray]:
    """The configuration of the run, written unless it exists, and the images' sizes (N, 2).

    Masks are added to an existing configuration that names none, and are those of the configuration if not given.

    Raises:
        ValueError: the data have problems, or an existing configuration names other data.
    """
    target = Path(f"{request.name}.yaml")
    there = None if force or not target.exists() else _data_of(target, request.name)
    if there and there.get("masks") and request.masks is None:
        request = replace(request, masks=Path(there["masks"]))
    found = prepare(request)
    for problem in found.problems[1:SHOWN]:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    if found.problems:
        raise ValueError(f"{len(found.problems)} problem(s) to solve first: {found.problems[0]}")
    if there is None:
        write_config(target, request.name, found.config)
    else:
        _require_same_data(target, there, found.config["runs"][request.name]["prepare_data"])
        if request.masks is not None and not there.get("masks"):
            set_folder(target, request.name, "masks", request.masks, "prepare_data")
        console.print(f"{target} exists and is used (--force overwrites it)", highlight=False)
    for line in found.summary:
        console.print(line, highlight=False, markup=False)
    if said := _since_last_time(request.name, found.seen):
        console.print(f"since the last time: {said}", highlight=False, markup=False)
    return target, found.sizes


def _since_last_time(run: str, seen: Survey) -> str | None:
    """The changes of the data since the run was finished; None if it never was."""
    try:
        before = labels_of(Dataset(Path("results") / run / "prepare_data"))
    except (OSError, ValueError):
        return None
    return changes(before, {found.image_id: frozenset(found.row.names) for found in seen.found})


def _data_of(target: Path, name: str) -> dict[str, Any]:
    """The section prepare_data of a run in a configuration."""
    there = all_runs(read_config(target)).get(name)
    if there is None:
        raise ValueError(f"{target} has no run '{name}'; choose another --name, or --force to replace it")
    return there.get("prepare_data", {})


def _require_same_data(target: Path, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    for key in ("images", "labels", *(["masks"] if theirs.get("masks") else [])):
        given, there = mine.get(key), theirs.get(key)
        if (given and os.path.realpath(str(given))) != (there and os.path.realpath(str(there))):
            says = f"says {key}: {there}" if there else f"names no {key}"
            raise ValueError(
                f"{target} {says}, the command {given or 'none'}; edit it, choose another --name, or --force to "
                "overwrite it"
            )


def set_folder(target: Path, name: str, key: str, folder: Path, section: str | None = None) -> None:
    """Sets a key of a configuration's run, or of its section, to a folder, without changing other lines.

    Raises:
        ValueError: the file's layout does not allow this by one line.
    """
    text = regular(target).read_text(encoding="utf-8")
    wanted = read_config(target)
    settings = wanted["runs"][name]
    (settings.setdefault(section, {}) if section else settings)[key] = str(folder)
    line, indent = f"{key}: {json.dumps(str(folder), ensure_ascii=False)}", " " * (6 if section else 4)
    plain = re.sub(rf'(?m)^{indent}{key}: ("([^"\\\n]|\\.)*"|[^{{\n]*)\n', "", text)
    below = rf"(?:    .*\n|\s*\n)*?    {section}:[^\S\n]*\n" if section else ""
    head = rf"(?m)^(  (['\"]?){re.escape(name)}\2:[^\S\n]*\n{below})"
    changed = re.sub(head, lambda found: f"{found[1]}{indent}{line}\n", plain, count=1)
    if yaml.safe_load(changed) != wanted:
        place = f"{section} of run '{name}'" if section else f"run '{name}'"
        raise ValueError(f"{target}: cannot be changed by --{key}; write '{line}' into {place} yourself")
    if changed != text:
        write_atomically(target, changed)
