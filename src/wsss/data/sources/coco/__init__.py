"""COCO's instances files."""
