"""YOLO's polygons: one text file per image."""
