"""Settings of COCO annotations."""

from __future__ import annotations

from typing import ClassVar, Literal

from wsss.config.common import Component


class Settings(Component):
    """One instances JSON: for every image and class a region, run-length encoded; void pixels are left out."""

    implementation = "wsss.data.formats.coco.write:write"
    reader: ClassVar[str] = "wsss.data.formats.coco.read:read"
    format: Literal["coco"]
