"""The reserved value of label maps."""

IGNORE = 255
"""Value of pixels of unknown class in label maps (VOC: void), which are neither trained on nor measured."""
