"""YOLO's polygons: one text file an image."""
