"""Settings of COCO annotations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsss.config.common import Component
from wsss.data.files import files_below, keys_of


class Settings(Component):
    """One instances JSON: for every image and class a region, run-length encoded; void pixels are left out."""

    implementation = "wsss.data.formats.coco.write:write"
    reader: ClassVar[str] = "wsss.data.formats.coco.read:read"
    format: Literal["coco"]

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a folder or file holds such annotations."""
        files = files_below(source, suffixes=(".json",)) if source.is_dir() else [("", source)]
        return any(file.suffix.lower() == ".json" and {"images", "annotations"} <= keys_of(file) for _, file in files)
