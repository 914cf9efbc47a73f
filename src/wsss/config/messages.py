"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from typing import Any


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` with the known name nearest to `word`, or an empty string if none is near."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def shortened(value: Any, most: int = 80) -> str:
    """A value as written in code, cut after `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
