"""Confusion matrices, IoU, threshold curves, average precision, quality without masks."""
