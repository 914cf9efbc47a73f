"""Earlier results of the same work on other inputs: what of them has not changed need not be computed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wsss.plan.manifest import read_manifest


def earlier_folders(folder: Path, *differing: str) -> list[Path]:
    """The folders beside a step's own whose manifests differ in these parts alone, the newest first.

    differing: fields of `Manifest`, e.g. `upstream` for the same stage, settings, code and files on other data.
    """

    def common(path: Path) -> str:
        return replace(read_manifest(path), **{part: {} for part in differing}).key

    mine, found = common(folder), []
    for manifest in folder.parent.glob("*/manifest.json"):
        other = manifest.parent
        try:
            if other.name != folder.name and common(other) == mine:
                found.append((manifest.stat().st_mtime, other))
        except (OSError, ValueError):  # damaged, or removed meanwhile: nothing is taken from it
            continue
    return [other for _, other in sorted(found, reverse=True)]
