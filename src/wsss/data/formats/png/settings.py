"""Settings of palette PNGs."""

from __future__ import annotations

from typing import ClassVar, Literal

from wsss.config.common import Component


class Settings(Component):
    """Palette PNGs, one an image, as VOC's masks are: pixel values are class ids, 255 is void."""

    implementation = "wsss.data.formats.png.write:write"
    reader: ClassVar[str] = "wsss.data.formats.png.read:read"
    format: Literal["png"]
