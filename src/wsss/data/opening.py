"""Opening of one image and its mask: what is seen, or the problem and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wsss.data.images import MIN_EDGE, Seen, inspect, read_mask, values_of
from wsss.data.reasons import AGAIN, Unfit, reason
from wsss.runtime.labels import IGNORE


class Problem(NamedTuple):
    """A problem and its remedy. image_id: the image whose exclusion solves it; empty if none does."""

    file: str
    problem: str
    advice: str
    image_id: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.advice}"


@dataclass(frozen=True)
class Entry:
    """Files to open for one image. annotated: height and width according to its annotations, if they state them."""

    image_id: str
    image: Path
    mask: Path | None = None
    annotated: tuple[int, int] | None = None


class Look(NamedTuple):
    """Result of opening an entry. seen: its image; shown: values of its mask."""

    problem: Problem | None = None
    seen: Seen | None = None
    shown: frozenset[int] | None = None


def look_at(entry: Entry, num_classes: int) -> Look:
    """Opens an image and its mask. num_classes: without background; a mask's values are 0..num_classes and 255."""
    path = entry.image
    look = Look()
    try:
        seen = _open_image(path)
        look = Look(seen=seen)
        if entry.annotated and entry.annotated != seen.size:
            raise Unfit(
                f"size {seen.size[::-1]}, but its annotations are for {entry.annotated[::-1]}",
                "take image and annotations of one release",
            )
        if entry.mask:
            path = entry.mask
            look = Look(seen=seen, shown=_open_mask(path, seen, num_classes))
    except Unfit as bad:
        return look._replace(problem=Problem(str(path), *bad.args, entry.image_id))
    return look


def _open_image(path: Path) -> Seen:
    _check_file(path, "image")
    try:
        return inspect(path, MIN_EDGE)
    except Exception as error:
        raise reason(error, path, "image") from None


def _open_mask(path: Path, seen: Seen, num_classes: int) -> frozenset[int]:
    """The values of a mask, after checks of its size and class ids."""
    _check_file(path, "mask")
    try:
        ids = read_mask(path)
    except Exception as error:
        raise reason(error.__cause__ or error, path, "mask") from None
    shown = values_of(ids)
    top = max(shown - {IGNORE}, default=0)
    if top > num_classes:
        raise Unfit(f"class id {top}", f"accepted are 0..{num_classes} and 255 (void)")
    if ids.shape != seen.size:
        turned = seen.turned and ids.shape == seen.size[::-1]
        advice = "turn it as its image's EXIF tag does" if turned else "export it again"
        raise Unfit(f"size {ids.shape[::-1]}, but its image has {seen.size[::-1]}", advice)
    return shown


def _check_file(path: Path, what: str) -> None:
    try:
        if not path.is_file():
            found = "a folder, not a file" if path.is_dir() else f"no such {what}"
            raise Unfit(found, "put it there, or take it out of the lists")
        if path.stat().st_size == 0:
            raise Unfit("empty file (0 bytes)", AGAIN)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise Unfit(f"cannot be opened ({error})", "rename it, or change its permissions") from None
