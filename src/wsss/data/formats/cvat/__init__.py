"""CVAT's XML for images."""
