"""Choice and check of output paths: distinct, and never a file that is read."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

NAME_BYTES = 255
"""Longest file name of common file systems."""
K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=PurePath)


def a_path(text: str) -> Path:
    """A path of a command line; an empty text, as of a variable that is not set, does not mean the current folder.

    Raises:
        ArgumentTypeError: the text is empty.
    """
    if not text.strip():
        raise ArgumentTypeError("is empty; accepted is a path, and . for the current folder")
    return Path(text)


def unique_places(candidates: Mapping[K, Sequence[PurePath]]) -> dict[K, PurePath]:
    """The first candidate path of each key that clashes with no other key's, also on file systems that ignore case.

    A key clashes if another has the same path, or a path below it; it then tries its next candidate.

    Raises:
        ValueError: two keys clash in their last candidates; names both.
    """
    places, clashing = _spread(candidates, _folded)
    if clashing:  # retry with case: names that differ only in case exist where the file system tells them apart
        places, clashing = _spread(candidates, lambda place: place)
    if clashing:
        same = [key for key in clashing if places[key] == places[clashing[0]]]
        first, second = same[:2] if len(same) > 1 else clashing[:2]
        raise ValueError(f"{first} and {second} would both be written to {places[first]}")
    return places


def _spread(
    candidates: Mapping[K, Sequence[PurePath]], form: Callable[[PurePath], PurePath]
) -> tuple[dict[K, PurePath], list[K]]:
    """Paths, and the keys that clash in all of their candidates. form: maps paths to what must differ."""
    level = dict.fromkeys(candidates, 0)
    while True:
        places = {key: options[level[key]] for key, options in candidates.items()}
        clashing = _clashing({key: form(place) for key, place in places.items()})
        movable = [key for key in clashing if level[key] < len(candidates[key]) - 1]
        if not movable:
            return places, clashing
        for key in movable:
            level[key] += 1


def _clashing(places: Mapping[K, PurePath]) -> list[K]:
    """Keys whose path another key has too, or is a folder of another's."""
    count = Counter(places.values())
    folders = {parent for place in count for parent in place.parents}
    return [key for key, place in places.items() if count[place] > 1 or place in folders]


def fold(name: str) -> str:
    """A name in one Unicode form and one case, for comparison."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _folded(place: PurePath) -> PurePath:
    return PurePath(fold(place.as_posix()))


def fitting(place: P) -> P:
    """The path with a name of at most NAME_BYTES bytes: cut and given a digest where it is longer."""
    if len(os.fsencode(place.name)) <= NAME_BYTES:
        return place
    mark = f"~{hashlib.sha256(place.as_posix().encode()).hexdigest()[:16]}{place.suffix}"
    kept = os.fsencode(place.name)[: NAME_BYTES - len(os.fsencode(mark))].decode(errors="ignore")
    return place.with_name(kept + mark)


def refuse_sources(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Checks that no target is a source, links followed, and that a file can be written at every target.

    Raises:
        ValueError: a target is a source or a broken link, its name is too long, or nothing can be written there; names
            it.
    """
    targets = list(targets)
    read: dict[object, Path] = {}
    for source in sources:
        read |= {os.path.realpath(source): source, _inode(source): source}
    read.pop(None, None)
    for target in targets:
        found = read.get(os.path.realpath(target)) or read.get(_inode(target))
        if found is not None:
            raise ValueError(f"{target}: would be written over {found}, which is read; choose another place")
        if len(os.fsencode(target.name)) > NAME_BYTES:
            raise ValueError(
                f"{target.name}: longer than {NAME_BYTES} bytes, which no file name may be; rename its source"
            )
        if target.is_symlink() and not target.exists():
            raise ValueError(f"{target}: is a broken link, which would be replaced; choose another place")
        if target.is_dir():
            raise ValueError(f"{target}: is a folder, and a file would be written there; choose another place")
    for folder in dict.fromkeys(target.parent for target in targets):
        require_folder(folder)


def require_folder(folder: Path) -> None:
    """Raises ValueError unless files can be written into a folder, there or to be made, that is no stage's own."""
    for part in (folder, *folder.parents):
        if part.is_symlink() and not part.exists():
            raise ValueError(f"{folder}: {part} is a broken link")
        if part.exists():
            if not part.is_dir():
                raise ValueError(f"{folder}: {part} is not a folder")
            if not os.access(part, os.W_OK | os.X_OK):
                raise ValueError(f"{folder}: nothing may be written into {part}; choose another place")
            break
    whole = Path(os.path.realpath(folder))
    for part in (whole, *whole.parents):
        if part.parent.parent.name == "stages" and re.fullmatch("[0-9a-f]{16}", part.name):
            raise ValueError(f"{folder}: lies in a stage's results, which are its own; choose another place")


def refuse_foreign(target: Path, ours: Callable[[Path], bool], what: str) -> None:
    """Checks that an existing target is a file of the same kind, which may be replaced.

    Raises:
        ValueError: it is something else.
    """
    if target.exists() and not (target.is_file() and ours(target)):
        raise ValueError(f"{target}: already exists, and is not {what}; choose another name")


def refuse_inside(out: Path, folder: Path) -> None:
    """Checks that `out` lies outside a folder of inputs, where the next call would read it as an input.

    Raises:
        ValueError: `out` is the folder or lies in it.
    """
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise ValueError(f"{out}: lies in {folder}, which is read; choose a folder outside of it")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
