"""Digests of the inputs of results without a key, in hidden files beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss.runtime.files import regular, write_atomically


def note_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the argument of a program whose result has a name instead of a key."""
    parser.add_argument("--made-of", default="", help="digest of the result's inputs, stored in a file beside it")


def note(product: Path, digest: str) -> None:
    """Stores the digest of a product's inputs; an empty digest stores nothing."""
    if digest:
        write_atomically(_beside(product), digest)


def noted(product: Path) -> str:
    """The stored digest of a product, or an empty string."""
    try:
        return regular(_beside(product)).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _beside(product: Path) -> Path:
    return product.with_name(f".{product.name}.made_of")
