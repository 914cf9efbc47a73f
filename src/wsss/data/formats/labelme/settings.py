"""Settings of labelme's files."""

from __future__ import annotations

from typing import ClassVar, Literal

from wsss.config.common import Component


class Settings(Component):
    """labelme's JSON, one an image: a shape of type mask for every class; reads masks, polygons and rectangles."""

    implementation = "wsss.data.formats.labelme.write:write"
    reader: ClassVar[str] = "wsss.data.formats.labelme.read:read"
    format: Literal["labelme"]
