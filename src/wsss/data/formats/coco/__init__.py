"""COCO's annotations: one run-length encoded region a class and image."""
