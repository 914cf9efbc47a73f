"""The layout of `--help`."""

from __future__ import annotations

import argparse


class Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph of a description to the terminal's width, and leaves commands as they are written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        parts = text.strip("\n").split("\n\n")
        return "\n\n".join(p if p.startswith((" ", "wsss ")) else fill(p, width, indent) for p in parts)
