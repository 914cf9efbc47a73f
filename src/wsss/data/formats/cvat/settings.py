"""Settings of CVAT's XML."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsss.config.common import Component
from wsss.data.files import files_below


class Settings(Component):
    """CVAT for images 1.1: annotations.xml with a mask for every image and class; reads masks, polygons and boxes."""

    implementation = "wsss.data.formats.cvat.write:write"
    reader: ClassVar[str] = "wsss.data.formats.cvat.read:read"
    format: Literal["cvat"]

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a folder or file holds such annotations."""
        return source.suffix.lower() == ".xml" or (source.is_dir() and any(files_below(source, suffixes=(".xml",))))
