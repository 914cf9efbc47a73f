"""Settings of palette PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsss.config.common import Component
from wsss.data.files import MASK_SUFFIXES, files_below


class Settings(Component):
    """Palette PNGs like VOC's masks, one per image: pixel values are class ids, 255 is void."""

    implementation = "wsss.data.formats.png.write:write"
    reader: ClassVar[str] = "wsss.data.formats.png.read:read"
    images_alone: ClassVar[bool] = True
    """Photographs among the files would be read as masks."""
    format: Literal["png"]

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a folder or file holds such annotations."""
        return source.is_dir() and any(files_below(source, suffixes=MASK_SUFFIXES))
