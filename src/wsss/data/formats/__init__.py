"""Annotation formats of other tools, written and read: one folder per format."""
