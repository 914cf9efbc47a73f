"""The form of a renaming from published names to ours."""

Rules = tuple[tuple[str, str | None], ...]
"""(pattern at the start of a name, replacement or None to drop the entry); the first match counts."""
