"""The configuration of `wsss run`: written for the data, or found and compared with them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from wsss.cli.init import Request, prepare, write_config
from wsss.config.loading import all_runs, read_config
from wsss.data.changes import changes, labels_of
from wsss.data.dataset import Dataset
from wsss.data.sources.folder.index import Survey
from wsss.runtime.files import regular, write_atomically


def settle_config(request: Request, console: Console, *, force: bool) -> tuple[Path, np.ndarray]:
    """The configuration of the run, written unless it exists, and the images' sizes (N, 2).

    Raises:
        ValueError: the data have problems, or an existing configuration names other data.
    """
    target = Path(f"{request.name}.yaml")
    found = prepare(request)
    if found.problems:
        raise ValueError(f"{len(found.problems)} problem(s) to solve first, e.g. {found.problems[0]}")
    if target.exists() and not force:
        _require_same_data(target, request, found.config)
        console.print(f"{target} exists and is used unchanged (--force overwrites it)", highlight=False)
    else:
        write_config(target, request.name, found.config)
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


def _require_same_data(target: Path, request: Request, config: dict) -> None:
    there = all_runs(read_config(target)).get(request.name)
    if there is None:
        raise ValueError(f"{target} has no run '{request.name}'; choose another --name, or --force to replace it")
    mine, theirs = config["runs"][request.name]["prepare_data"], there.get("prepare_data", {})
    for key in ("images", "labels", "masks"):
        if len({value and os.path.realpath(str(value)) for value in (mine.get(key), theirs.get(key))}) > 1:
            raise ValueError(
                f"{target} says {key}: {theirs.get(key)}, the command {mine.get(key)}; edit it, choose another "
                "--name, or --force to overwrite it"
            )


def set_corrections(target: Path, name: str, folder: Path) -> None:
    """Sets `corrections` of a configuration's run to a folder of masks, without changing other lines.

    Raises:
        ValueError: the file's layout does not allow this by one line.
    """
    text = regular(target).read_text(encoding="utf-8")
    wanted = read_config(target)
    wanted["runs"][name]["corrections"] = str(folder)
    line = f"corrections: {json.dumps(str(folder), ensure_ascii=False)}"
    plain = re.sub(r'(?m)^    corrections: ("([^"\\\n]|\\.)*"|[^{\n]*)\n', "", text)
    run = rf"(?m)^(  (['\"]?){re.escape(name)}\2:[^\S\n]*\n)"
    changed = re.sub(run, lambda found: f"{found[1]}    {line}\n", plain, count=1)
    if yaml.safe_load(changed) != wanted:
        raise ValueError(f"{target}: cannot be changed by --corrections; write '{line}' into run '{name}' yourself")
    if changed != text:
        write_atomically(target, changed)
