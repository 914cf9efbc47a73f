"""Palette PNGs, as VOC's masks are."""
