"""Weakly supervised semantic segmentation: image-level labels in, pixel masks and a trained model out."""

__version__ = "0.1.0"
