"""Renaming rules from published names to this package's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Rules = tuple[tuple[str, str | None], ...]
"""(pattern at the start of a name, replacement or None to drop the entry); the first match applies."""


def rename(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Apply to each name the first rule whose pattern it starts with; a rule to None drops the entry."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            if match := re.match(pattern, name):
                if replacement is not None:
                    renamed[match.expand(replacement) + name[match.end() :]] = tensor
                break
        else:
            renamed[name] = tensor
    return renamed
