"""What a result without a key was made of, noted in a hidden file beside it."""

from __future__ import annotations

from pathlib import Path

from wsss.runtime.files import write_atomically


def note(product: Path, digest: str) -> None:
    """Notes what a product was made of; without a digest, nothing is known of it."""
    if digest:
        write_atomically(_beside(product), digest)


def noted(product: Path) -> str:
    """The digest noted of a product, or nothing."""
    try:
        return _beside(product).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _beside(product: Path) -> Path:
    return product.with_name(f".{product.name}.made_of")
