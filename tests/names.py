"""Names of classes, for tests that need only their number."""

from __future__ import annotations


def class_names(foreground: int) -> list[str]:
    """The background and so many more."""
    return ["background", *(f"class {k}" for k in range(1, foreground + 1))]
