"""The one label value with a meaning of its own."""

IGNORE = 255
"""Pixels of unknown class in label maps (VOC: void): neither trained on nor measured."""
