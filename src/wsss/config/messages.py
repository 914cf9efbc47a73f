"""Messages on words that are not known."""

from __future__ import annotations

import difflib
from typing import Any


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` for a word that is not one of those known, or nothing."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
