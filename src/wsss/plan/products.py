"""Results with a name instead of a key: a run's table and report, a comparison, a paper's tables.

A hidden file beside each stores the digest of its inputs; if it differs from the planned one, the result is made again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wsss.plan.code import code_digest
from wsss.plan.notes import noted
from wsss.plan.outline import outline
from wsss.plan.run import Plan
from wsss.plan.tables import PlannedEntry


def table_digest(plan: Plan) -> str:
    """Digest of the inputs of a run's links, miou.csv and model/."""
    return _digest(outline(plan), code_digest("wsss.stages.collect"))


def report_digest(plan: Plan) -> str:
    """Digest of the inputs of a run's page and figures."""
    return _digest(table_digest(plan), code_digest("wsss.stages.report"))


def comparison_digest(plans: Iterable[Plan]) -> str:
    """Digest of the inputs of the page that compares runs."""
    return _digest([table_digest(plan) for plan in plans], code_digest("wsss.cli.compare"))


def entries_digest(entries: Sequence[PlannedEntry]) -> str:
    """Digest of the inputs of a paper's tables."""
    parts = [
        [e.entry.table, e.entry.name, e.entry.stage, e.entry.published, e.plan.step("evaluate").key] for e in entries
    ]
    return _digest(parts, code_digest("wsss.stages.make_table"))


def affinity_map_digest(plan: Plan) -> str:
    """Digest of the inputs of a run's affinity maps."""
    keys = [plan.step(label).key for label in ("prepare_data", "train_classifier")]
    return _digest(keys, code_digest("wsss.stages.affinity_map", *plan.method_code))


def outdated(
    targets: Iterable[str],
    plans: Mapping[str, Plan],
    tables: Mapping[str, Sequence[PlannedEntry]],
    compared: Sequence[str] = (),
) -> frozenset[str]:
    """The existing products, among the targets and their inputs, that were made from other inputs than planned.

    A table beside which a link to a stage is lost, or leads elsewhere, counts too. compared: the runs of
    results/compare.html.
    """
    wanted: dict[str, str] = {}
    for target in targets:
        if (found := re.match(r"results/tables/([^/]+?)(-scales)?\.", target)) and found[1] in tables:
            wanted[f"results/tables/{found[1]}.csv"] = entries_digest(tables[found[1]])
        elif (found := re.match(r"results/([^/]+)/", target)) and found[1] in plans:
            plan = plans[found[1]]
            wanted |= _table(plan) | {f"results/{plan.run}/report.html": report_digest(plan)}
            if "/affinity_map/" in target:
                wanted[target] = affinity_map_digest(plan)
        elif target == "results/compare.html" and all(name in plans for name in compared):
            wanted[target] = comparison_digest(plans[name] for name in compared)
            for name in compared:
                wanted |= _table(plans[name])
    there = {file: digest for file, digest in wanted.items() if Path(file).exists()}
    return frozenset(file for file, digest in there.items() if noted(Path(file)) != digest)


def _table(plan: Plan) -> dict[str, str]:
    """A run's table, and the digest of its inputs if it is as it should be."""
    return {f"results/{plan.run}/miou.csv": table_digest(plan) if _linked(plan) else "not linked"}


def _linked(plan: Plan) -> bool:
    links = ((Path("results") / plan.run / step.label, step.folder) for step in plan.steps)
    return all(link.is_symlink() and link.resolve() == folder.resolve() for link, folder in links)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
