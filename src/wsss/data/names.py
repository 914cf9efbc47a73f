"""Names of classes and images: Unicode normalisation and validity checks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from wsss.data.files import SUFFIXES
from wsss.runtime.targets import NAME_BYTES

MAX_CLASSES = 254
"""Class ids are bytes; 0 is the background and 255 void."""
MAX_LENGTH = 200
"""Largest number of characters of a class name."""
VOID = frozenset({"void", "ignore", "ignored", "dontcare", "don't care", "unlabeled", "unlabelled"})
NOTHING = frozenset({"nan", "none", "null", "na", "n/a", "#n/a", "<na>"})
"""Texts that spreadsheets and pandas write for missing values."""
SIGNS = ("Sm", "Sc", "Sk")
"""Unicode categories of signs of which a name cannot consist alone, beside punctuation and spaces."""
FILES = (*SUFFIXES, ".txt", ".csv", ".xml", ".json", ".npy")
"""Suffixes of a name that is a file's, and no class's."""
_ENDS = re.compile(r"^[\s\u00ad\u200b-\u200f\u2060\ufeff]+|[\s\u00ad\u200b-\u200f\u2060\ufeff]+$")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def clean_name(name: str) -> str:
    """A class name in Unicode's composed form, stripped of spaces and invisible letters, with single spaces inside."""
    return " ".join(_ENDS.sub("", unicodedata.normalize("NFC", name)).split())


def checked_classes(where: Path | str, names: Sequence[str]) -> list[str]:
    """The names of all classes but the background, cleaned, in their order.

    where: the file or setting that they are from.

    Raises:
        ValueError: no names or too many, or a name that resembles another one, is reserved, or cannot be stored.
    """
    classes = [clean_name(name) for name in names]
    if not classes:
        raise ValueError(f"{where}: no class is named; accepted: 1 to {MAX_CLASSES}")
    if len(classes) > MAX_CLASSES:
        shown = ", ".join(classes[:3])
        raise ValueError(f"{where}: {len(classes)} classes, e.g. {shown}; accepted: 1 to {MAX_CLASSES}")
    for name in classes:
        _check_word(where, name)
    alike: dict[str, str] = {}
    for number, name in enumerate(classes):
        other = alike.setdefault(_look(name), name)
        if name in classes[:number]:
            raise ValueError(f"{where}: class name {name!r} occurs twice; accepted are different names")
        if other != name:
            how = "differ in case only" if other.casefold() == name.casefold() else "look alike"
            raise ValueError(f"{where}: classes '{other}' and '{name}' {how}; write them alike")
    return classes


def _check_word(where: Path | str, name: str) -> None:
    if not name or ";" in name or CONTROL.search(name):
        kinds = "different names without ';' and control characters"
        raise ValueError(f"{where}: class name {name!r}; accepted are {kinds}")
    if all(unicodedata.category(c) in SIGNS or unicodedata.category(c)[0] in "PZ" for c in name):
        what = "a name has a letter or a digit; where an image shows no class, leave the cell empty"
        raise ValueError(f"{where}: class name {name!r}; {what}")
    if len(name) > MAX_LENGTH:
        raise ValueError(f"{where}: class name '{name[:40]}…' of {len(name)} characters; accepted: {MAX_LENGTH}")
    if name.lower().endswith(FILES):
        raise ValueError(f"{where}: class '{name}' is the name of a file; names of classes are needed there")
    word = name.casefold().strip("_")
    if word == "background":
        raise ValueError(f"{where}: class '{name}'; the background is implied and has id 0: leave it out")
    if word in VOID:
        raise ValueError(f"{where}: class '{name}'; what counts as nothing has id 255 and no name: leave it out")
    if word in NOTHING:
        raise ValueError(f"{where}: class '{name}'; where an image shows no class, leave the cell empty")


def _look(name: str) -> str:
    """A key that is equal for names that look alike: without case, form, width, invisible characters and joiners.

    Numbers are alike if they are equal: `1`, `1.0` and `01`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    number = re.fullmatch(r"0*(\d+?)(\.0*)?", folded)
    if number:
        return number[1]
    joined = re.sub(r"(?<=[^\W_])[-_\s]+(?=[^\W_])", " ", folded)  # `traffic_light`, `traffic-light`
    return " ".join("".join(c for c in joined if unicodedata.category(c) != "Cf").split())


def id_problem(image_id: str) -> str | None:
    """The reason why an id cannot be part of a path; None if it can."""
    if CONTROL.search(image_id):
        return "holds control characters or bytes that are not UTF-8"
    if any(part in ("", ".", "..") for part in image_id.split("/")):
        return "leads out of the data set's folder or has empty path parts"
    if (length := max(len(part.encode()) for part in image_id.split("/"))) > NAME_BYTES:
        return f"has a name of {length} bytes, longer than that of any file"
    return None
