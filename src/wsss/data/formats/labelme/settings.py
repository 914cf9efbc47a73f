"""Settings of labelme's files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsss.config.common import Component
from wsss.data.files import files_below, keys_of


class Settings(Component):
    """labelme's JSON, one file per image, with a mask per class; reads masks, polygons and rectangles."""

    implementation = "wsss.data.formats.labelme.write:write"
    reader: ClassVar[str] = "wsss.data.formats.labelme.read:read"
    format: Literal["labelme"]

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a folder or file holds such annotations."""
        files = files_below(source, suffixes=(".json",)) if source.is_dir() else ()
        return any({"shapes", "imageHeight"} <= keys_of(file) for _, file in files)
