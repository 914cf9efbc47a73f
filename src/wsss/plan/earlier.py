"""Earlier results of the same stage on other inputs, of which unchanged parts can be reused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wsss.plan.manifest import read_manifest


def earlier_folders(folder: Path, *differing: str) -> list[Path]:
    """The folders of a step's stage whose manifests differ only in these fields, the newest first.

    differing: fields of `Manifest`, e.g. `upstream` for equal settings, code and files on other data.
    """

    def common(path: Path) -> str:
        return replace(read_manifest(path), **{part: {} for part in differing}).key

    mine, found = common(folder), []
    for manifest in folder.parent.glob("*/manifest.json"):
        other = manifest.parent
        try:
            if other.name != folder.name and common(other) == mine:
                found.append((manifest.stat().st_mtime, other))
        except (OSError, ValueError):  # damaged, or removed meanwhile: not reused
            continue
    return [other for _, other in sorted(found, reverse=True)]
