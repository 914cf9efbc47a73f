"""Palette PNGs like VOC's masks."""
