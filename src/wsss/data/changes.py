"""One-line summary of the changes of a data set since the last run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wsss.data.dataset import Dataset

SHOWN = 3
"""Number of images named for each kind of change."""


def labels_of(dataset: Dataset) -> dict[str, frozenset[str]]:
    """Image id → names of its classes."""
    names = dataset.class_names
    return {record.image_id: frozenset(names[c] for c in record.classes) for record in dataset.records}


def changes(before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]) -> str | None:
    """A line such as `12 new images, 1 label changed: a (cat → dog)`; None if nothing changed.

    before, after: image id → names of its classes.
    """
    new, gone = [i for i in after if i not in before], [i for i in before if i not in after]
    other = [f"{i} ({_listed(before[i])} → {_listed(after[i])})" for i in after if before.get(i, after[i]) != after[i]]
    parts = [
        f"{len(new)} new image{'s' * (len(new) != 1)}" if new else "",
        f"{len(gone)} image{'s' * (len(gone) != 1)} gone" if gone else "",
        f"{len(other)} label{'s' * (len(other) != 1)} changed: {_some(other)}" if other else "",
    ]
    return ", ".join(filter(None, parts)) or None


def _listed(names: Iterable[str]) -> str:
    return " + ".join(sorted(names)) or "nothing"


def _some(texts: list[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (" …" if len(texts) > SHOWN else "")
