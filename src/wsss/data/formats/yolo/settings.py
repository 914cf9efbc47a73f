"""Settings of YOLO's polygons."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from wsss.config.common import Component
from wsss.data.files import files_below


class Settings(Component):
    """YOLO's segmentation labels: a polygon a line for every part of a class; classes count from 0."""

    implementation = "wsss.data.formats.yolo.write:write"
    reader: ClassVar[str] = "wsss.data.formats.yolo.read:read"
    format: Literal["yolo"]

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Whether a folder or file holds such annotations."""
        told = (source / "labels").is_dir() or (source / "data.yaml").is_file()
        return told and any(files_below(label_folder(source), suffixes=(".txt",)))


def label_folder(source: Path) -> Path:
    """The folder of the text files: `labels` below the source, if it exists."""
    return source / "labels" if (source / "labels").is_dir() else source
