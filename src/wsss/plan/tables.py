"""A paper's tables as runs: `snakemake results/tables/seam.csv` measures every row and lists the published number.

`tables: {seam: …}` in config.yaml holds the settings of the paper's own system, e.g. `{preset: [shapes,
shapes-seam]}`; each entry of a table changes them a little. Entries with equal stages share them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss.config.loading import PRESETS, ConfigError, load_run, merge
from wsss.config.messages import nearest
from wsss.config.run import Run
from wsss.plan.run import Plan, plan_run
from wsss.runtime.contents import Contents

SCALES = (0.5, 1.0, 1.5, 2.0)
_SEEDS_ONLY = {"train_affinity": None, "refine_cam": None, "train_segmentation": None}


@dataclass(frozen=True)
class Entry:
    """A line of a table.

    table: in the paper, e.g. "Table 1". changes: to the settings of the whole system.
    stage: the reported row of miou.csv, on the training images. published: mIoU in percent, if known.
    """

    table: str
    name: str
    changes: Mapping[str, Any]
    stage: str = "cam"
    published: float | None = None


@dataclass(frozen=True)
class PlannedEntry:
    """An entry and the run that measures it."""

    entry: Entry
    plan: Plan


def plan_tables(config: Mapping[str, Any], presets: Path = PRESETS) -> dict[str, list[PlannedEntry]]:
    """The entries of every table in the configuration's section `tables`, each with its plan.

    Raises:
        ConfigError: an unknown table, or a mistake in its settings.
    """
    tables = config.get("tables") or {}
    if not isinstance(tables, Mapping):
        raise ConfigError(f"tables: a mapping of tables to settings is needed, e.g. {{{next(iter(TABLES))}: {{…}}}}")
    return {name: _plan_table(name, settings or {}, presets) for name, settings in tables.items()}


def _plan_table(name: str, settings: Mapping[str, Any], presets: Path) -> list[PlannedEntry]:
    if name not in TABLES:
        raise ConfigError(f"tables.{name}: no such table{nearest(name, TABLES)}; accepted: {', '.join(TABLES)}")
    whole = load_run(name, {name: settings}, presets, "tables")
    if whole.train_classifier.method.name != name:
        found = whole.train_classifier.method.name
        raise ConfigError(f"tables.{name}: train_classifier.method.name is {found}; the table needs {name}")
    planned, contents = [], Contents()
    for entry in TABLES[name](whole):
        run = load_run(name, {name: merge(merge(settings, _SEEDS_ONLY), entry.changes)}, presets, "tables")
        planned.append(PlannedEntry(entry, plan_run(f"tables-{name}", run, contents, f"tables.{name}")))
    return planned


def checked_plans(entries: Sequence[PlannedEntry]) -> list[Plan]:
    """The first plan of each classifier; these are checked before a table is computed."""
    first: dict[str, Plan] = {}
    for entry in entries:
        first.setdefault(entry.plan.step("train_classifier").key, entry.plan)
    return list(first.values())


def seam_entries(whole: Run) -> list[Entry]:
    """Tables 1 … 5 and Figure 6 of SEAM (Wang 2020); distances in pixels shrink with the crop (448 in the paper)."""
    cam = _method(er=False, pcm=False, ecr=False)
    seam: dict[str, Any] = {}
    entries = [
        Entry("Table 1", "baseline", cam, "cam", 47.43),
        Entry("Table 1", "baseline + CRF", cam, "cam_crf", 52.40),
        Entry("Table 1", "+ ER", _method(pcm=False, ecr=False), "cam", 49.90),
        Entry("Table 1", "+ ER + PCM", _method(ohem=None), "cam", 55.08),
        Entry("Table 1", "+ ER + PCM + OHEM", seam, "cam", 55.41),
        Entry("Table 1", "+ ER + PCM + OHEM + CRF", seam, "cam_crf", 56.83),
    ]
    localisers = {"cam": 47.43, "gradcam": 46.53, "gradcam++": 47.37}
    for localiser, miou in localisers.items():
        entries.append(Entry("Table 2", localiser, merge(cam, _infer(localiser=localiser)), published=miou))
    shift = max(1, round(15 * whole.train_classifier.training.augment.crop / 448))
    entries += [
        Entry("Table 3", "rescale", seam, published=55.41),
        Entry("Table 3", "rescale + flip", _method(flip=True), published=55.50),
        Entry("Table 3", "rescale + rotation", _method(rotation=20), published=53.13),
        Entry("Table 3", "rescale + translation", _method(translation=shift), published=55.23),
    ]
    for label, changes, miou in (("CAM", cam, 47.43), ("SEAM", seam, 55.41)):
        entries.append(Entry("Table 4", f"{label}, training sizes as set", changes, published=miou))
        entries.append(Entry("Table 4", f"{label}, smallest size halved", merge(changes, _halved(whole))))
    single = (49.35, 51.57, 52.25, 49.79)
    for scale, miou in zip(SCALES, single, strict=True):
        entries.append(Entry("Table 5", f"scale {scale:g}", _infer(scales=[scale]), published=miou))
    entries.append(Entry("Table 5", "all scales", seam, published=55.41))
    for label, changes in (("CAM", cam), ("SEAM", seam)):
        for scale in SCALES:
            entries.append(Entry("Figure 6", f"{label} {scale:g}", merge(changes, _infer(scales=[scale]))))
        entries.append(Entry("Figure 6", f"{label} all", changes))
    return entries


TABLES: dict[str, Callable[[Run], list[Entry]]] = {"seam": seam_entries}


def _method(**settings: Any) -> dict[str, Any]:
    return {"train_classifier": {"method": settings}}


def _infer(**settings: Any) -> dict[str, Any]:
    return {"infer_cam": settings}


def _halved(whole: Run) -> dict[str, Any]:
    """The random training sizes with the lowest one halved."""
    augment = whole.train_classifier.training.augment
    kind = "longest_edge" if augment.longest_edge else "scale"
    low, high = getattr(augment, kind) or (1.0, 1.0)
    return {"train_classifier": {"training": {"augment": {kind: [low / 2, high]}}}}
