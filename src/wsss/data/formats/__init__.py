"""Annotation files of other tools, written and read: one folder a format."""
