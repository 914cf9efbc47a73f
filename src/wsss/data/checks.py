"""Opens every image and mask before anything is computed, and reports all that is wrong in one table.

A problem of one image (cut short, missing, a mask of another size …) stops the run, or, with
`on_bad_image: skip`, leaves that image out and lists it in `skipped.csv`. What leaving an image out does not mend
(an id twice, an unknown class …) stops it in any case.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from wsss.data.dataset import MAX_PIXELS, read_mask
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import log

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
"""What `read_image` turns to RGB, beside 16-bit greys."""
SHOWN = 20
"""Problems that are printed; the file has all."""
COLUMNS = ("file", "problem", "what to do")
_AGAIN = "copy, download or export it again"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Problem(NamedTuple):
    """image_id: the image to leave out; empty where that mends nothing."""

    file: str
    problem: str
    advice: str
    image_id: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.advice}"


class _Bad(Exception):
    """What is wrong with the file at hand, and what to do."""


@dataclass(frozen=True)
class Entry:
    """What is to be opened. annotated: height and width that annotations give; None: nothing is said."""

    image_id: str
    image: Path
    mask: Path | None = None
    annotated: tuple[int, int] | None = None


class Preflight:
    """Collects problems; `check` opens files, `stop` ends the run if there is reason.

    out: folder for `problems.csv` and `skipped.csv`; None: no files are written.
    on_bad_image: `stop`, or `skip` to leave images with problems out.
    workers: threads that open files. done: called with (files done, total).
    """

    def __init__(
        self,
        out: Path | None = None,
        on_bad_image: str = "stop",
        workers: int | None = None,
        done: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.out, self.skip, self.workers, self.done = out, on_bad_image == "skip", workers, done
        self.problems: list[Problem] = []

    def add(self, file: Path | str, problem: str, advice: str, image_id: str = "") -> None:
        """One more problem; with `image_id`, leaving that image out mends it."""
        self.problems.append(Problem(str(file), problem, advice, image_id))

    def safe_ids(self, source: Path, ids: Iterable[str]) -> list[str]:
        """The ids that can be part of a path below a data set's folder; the others are problems."""
        safe = []
        for image_id in ids:
            if reason := id_problem(image_id):
                self.add(source, f"image id {image_id!r} {reason}", "name images below the data set's own folder")
            else:
                safe.append(image_id)
        return safe

    def check(self, entries: Sequence[Entry], num_classes: int, min_edge: int = 1) -> set[str]:
        """Opens every image and mask; the ids to leave out.

        num_classes: without background; a mask's values are 0..num_classes and 255.

        Raises:
            ValueError: something is wrong and is not to be skipped; the first problem, and how many more.
        """
        where = {entry.image_id: entry.image for entry in entries}
        for image_id, count in Counter(entry.image_id for entry in entries).items():
            if count > 1:
                self.add(where[image_id], f"image id '{image_id}' is there {count} times", "name every image once")
            elif reason := id_problem(image_id):
                self.add(where[image_id], f"image id {image_id!r} {reason}", "rename the file")
        with ThreadPoolExecutor(self.workers) as pool:
            found = pool.map(lambda entry: _entry_problem(entry, num_classes, min_edge), entries)
            for number, problem in enumerate(found, start=1):
                self.problems += [problem] if problem else []
                self.done(number, len(entries))
        self.stop()
        bad = {problem.image_id for problem in self.problems}
        if self.problems and all(entry.image_id in bad for entry in entries):
            raise ValueError(f"no image can be used; the first problem of {len(self.problems)}: {self.problems[0]}")
        return bad

    def stop(self) -> None:
        """Writes the tables.

        Raises:
            ValueError: there is a problem that is not to be skipped.
        """
        reasons = [p for p in self.problems if not (self.skip and p.image_id)]
        self._write("problems.csv", self.problems if reasons else [])
        self._write("skipped.csv", [] if reasons else self.problems)
        if not self.problems:
            return
        if len(self.problems) > 1:
            log.warning("%s", _table(self.problems[:SHOWN]))
        if not reasons:
            images = len({p.image_id for p in self.problems})
            log.warning("%d image(s) are left out; %s lists them", images, self._name("skipped.csv"))
            return
        more = f" (and {len(self.problems) - 1} more, listed in {self._name('problems.csv')})"
        hint = (
            "" if self.skip or not all(p.image_id for p in reasons) else "; on_bad_image: skip leaves such images out"
        )
        raise ValueError(f"{reasons[0]}{hint}{more if len(self.problems) > 1 else ''}")

    def _name(self, name: str) -> Path | str:
        return self.out / name if self.out else name

    def _write(self, name: str, problems: Sequence[Problem]) -> None:
        """The table of problems; without any, there is no file."""
        if self.out is None:
            return
        if not problems:
            (self.out / name).unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image_id", *COLUMNS])
        writer.writerows([p.image_id, p.file, p.problem, p.advice] for p in problems)
        write_atomically(self.out / name, text.getvalue().encode(errors="backslashreplace"))


def id_problem(image_id: str) -> str | None:
    """Why an id cannot be part of a path, or nothing."""
    if _CONTROL.search(image_id):
        return "holds control characters or bytes that are not UTF-8"
    if any(part in ("", ".", "..") for part in image_id.split("/")):
        return "leads out of the data set's folder or has empty path parts"
    return None


def _table(problems: Sequence[Problem]) -> str:
    cells = [COLUMNS, *((p.file, p.problem, p.advice) for p in problems)]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in cells)


def image_problem(path: Path, min_edge: int = 1) -> Problem | None:
    """What is wrong with one image, opened and decoded, if anything."""
    return _entry_problem(Entry(path.name, path), 0, min_edge)


def _entry_problem(entry: Entry, num_classes: int, min_edge: int) -> Problem | None:
    path = entry.image
    try:
        size, turned = _open_image(path, min_edge)
        if entry.annotated and entry.annotated != size:
            raise _Bad(
                f"size {size[::-1]}, but its annotations are for {entry.annotated[::-1]}",
                "take image and annotations of one release",
            )
        if entry.mask:
            path = entry.mask
            _open_mask(path, size, turned, num_classes)
    except _Bad as bad:
        return Problem(str(path), *bad.args, entry.image_id)
    return None


def _open_image(path: Path, min_edge: int) -> tuple[tuple[int, int], bool]:
    """Height and width of a good image, and whether its EXIF tag turns it by a quarter."""
    _check_file(path, "image")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.mode not in MODES and not image.mode.startswith("I;16"):
                raise _Bad(f"pixels of mode {image.mode} have no fixed range", "save it with 8 or 16 bits a channel")
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise _Bad(f"{image.n_frames} frames or pages", "save the one that is meant as an image of its own")
            if min(width, height) < min_edge:
                raise _Bad(f"{width}×{height} px", f"both edges must have {min_edge} px or more")
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            # a JPEG needs every byte of it read, but few of its pixels made
            image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
            image.load()
    except Exception as error:
        raise _reason(error, path, "image") from None
    return ((width, height) if turned else (height, width)), turned


def _open_mask(path: Path, size: tuple[int, int], turned: bool, num_classes: int) -> None:
    _check_file(path, "mask")
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise _Bad(f"mode {image.mode}", "a mask is a palette (P) or grey (L) image of class ids")
        ids = read_mask(path)
    except Exception as error:
        raise _reason(error, path, "mask") from None
    top = int(ids.max(initial=0, where=ids != np.uint8(255)))
    if top > num_classes:
        raise _Bad(f"class id {top}", f"accepted are 0..{num_classes} and 255 (void)")
    if ids.shape != size:
        advice = "turn it as its image's EXIF tag does" if turned and ids.shape == size[::-1] else "export it anew"
        raise _Bad(f"size {ids.shape[::-1]}, but its image has {size[::-1]}", advice)


def _check_file(path: Path, what: str) -> None:
    try:
        if not path.is_file():
            found = "a folder, not a file" if path.is_dir() else f"no such {what}"
            raise _Bad(found, "put it there, or take it out of the lists")
        if path.stat().st_size == 0:
            raise _Bad("empty file (0 bytes)", _AGAIN)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise _Bad(f"cannot be opened ({error})", "rename it, or mend its permissions") from None


def _reason(error: Exception, path: Path, what: str) -> _Bad:
    """What Pillow's error means to a person."""
    if isinstance(error, _Bad):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return _Bad(f"more than {MAX_PIXELS:,} pixels", "cut it into tiles or shrink it")
    if isinstance(error, UnidentifiedImageError):
        return _Bad(f"not an {what} but {_kind(path)}" if what == "image" else f"no image but {_kind(path)}", _AGAIN)
    if isinstance(error, PermissionError):
        return _Bad("cannot be opened (permission denied)", "mend its permissions")
    text = str(error).partition(f"{path}: ")[2] or str(error) or type(error).__name__
    return _Bad(f"cut short or damaged ({text.splitlines()[0]})", _AGAIN)


def _kind(path: Path) -> str:
    """What a file that is no image seems to be."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.lstrip()[:1] == b"<":
        return "a web page or XML"
    printable = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return "a text file" if printable else "something else, or an image of an unknown format"


def check_rows(class_names: Sequence[str], rows: Sequence[dict[str, str]]) -> list[str]:
    """Remarks on a table that can be used: images without a label, classes without a training image.

    class_names: background first.

    Raises:
        ValueError: class names that cannot be told apart, an empty split, or no training image with a label.
    """
    for number, name in enumerate(class_names):
        if name in class_names[:number] or ";" in name or _CONTROL.search(name) or not name.strip():
            raise ValueError(f"class name {name!r}; accepted are different names without ';' and control characters")
    for split in ("train", "val"):
        if not any(row["split"] == split for row in rows):
            raise ValueError(f"split '{split}' is empty; both train and val need images")
    training = Counter(name for row in rows if row["split"] == "train" for name in row["labels"].split(";") if name)
    if not training:
        raise ValueError("no training image bears a label; image-level labels are what is learned from")
    remarks = []
    bare = [row["image_id"] for row in rows if not row["labels"]]
    if bare:
        remarks.append(f"{len(bare)} image(s) bear no label and count as background only, e.g. {bare[0]}")
    missing = [name for name in class_names[1:] if not training[name]]
    if missing:
        remarks.append(f"{len(missing)} class(es) have no training image and cannot be learned: {', '.join(missing)}")
    return remarks
