"""Settings of CVAT's XML."""

from __future__ import annotations

from typing import ClassVar, Literal

from wsss.config.common import Component


class Settings(Component):
    """CVAT for images 1.1: annotations.xml with a mask for every image and class; reads masks, polygons and boxes."""

    implementation = "wsss.data.formats.cvat.write:write"
    reader: ClassVar[str] = "wsss.data.formats.cvat.read:read"
    format: Literal["cvat"]
