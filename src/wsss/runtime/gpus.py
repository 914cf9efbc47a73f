"""Whether this machine can have a GPU that torch uses, without the import of torch."""

from __future__ import annotations

import sys
from pathlib import Path

DRIVER_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of the drivers of NVIDIA, AMD, and of Windows below Linux."""


def gpu_possible() -> bool:
    """False on Linux without a driver's device file and on macOS, whose torch has no CUDA."""
    if sys.platform == "linux":
        return any(Path(file).exists() for file in DRIVER_FILES)
    return sys.platform != "darwin"
