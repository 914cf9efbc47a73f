"""Settings of YOLO's polygons."""

from __future__ import annotations

from typing import Literal

from wsss.config.common import Component


class Settings(Component):
    """YOLO's segmentation labels: a polygon a line for every part of a class, holes filled; classes count from 0."""

    implementation = "wsss.data.formats.yolo.write:write"
    format: Literal["yolo"]
