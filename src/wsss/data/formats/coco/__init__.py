"""COCO annotations: one run-length encoded region per class and image."""
