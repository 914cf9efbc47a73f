"""Weakly supervised semantic segmentation: image-level labels in, pixel masks and a trained model out.

Public interface: `load_segmentation` loads a trained network, `open_labels` and `open_scores` open the HDF5 files.
"""

from importlib import import_module
from typing import Any

from wsss.runtime.compiler import postpone_compiler

__version__ = "0.1.0"
__all__ = ["load_segmentation", "open_labels", "open_scores"]

postpone_compiler()  # before timm and torchvision are imported

_HOME = {
    "load_segmentation": "wsss.segmentation.load",
    "open_labels": "wsss.store.maps",
    "open_scores": "wsss.store.maps",
}


def __getattr__(name: str) -> Any:
    """Imports a public function on first access, so that `import wsss` does not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'wsss' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)
