"""Preflight check: opens every image and mask before anything is computed, and reports all problems in one table.

A problem of one image (truncated, missing, a mask of another size …) stops the run or, with `on_bad_image: skip`,
excludes that image and lists it in `skipped.csv`. Problems that excluding an image does not solve (a repeated id, an
unknown class …) always stop the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wsss.config.messages import shortened
from wsss.data.names import checked_classes, id_problem
from wsss.data.opening import Entry, Look, Problem, look_at
from wsss.data.remarks import of_labels, of_masks, of_measuring, of_names
from wsss.data.text import Text, read_text
from wsss.runtime.cells import csv_text
from wsss.runtime.files import write_atomically
from wsss.runtime.progress import log

SHOWN = 20
"""Number of problems printed; the file lists all."""
AS_IDS = "save objects as their class's id, e.g. 1 for the first class"
COLUMNS = ("file", "problem", "what to do")


class Preflight:
    """Collects problems; `check` opens the files, `stop` ends the run if there are problems.

    out: folder for `problems.csv` and `skipped.csv`; None: no files are written.
    on_bad_image: `stop`, or `skip` to exclude images with problems.
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
        self.shown: dict[str, frozenset[int]] = {}
        """Image id → values of its mask, of the masks opened so far."""
        self.shallow: list[str] = []
        """Ids of 16-bit images that use fewer than 16 bits."""
        self.turned: list[str] = []
        """Ids of images that EXIF turns without changing their size, and that have masks."""
        self.stated: dict[str, tuple[int, int]] = {}
        """Image id → height and width according to an annotation that does not need them."""
        self.strange: list[str] = []
        """Ids of images whose annotations state another image's name or size."""
        self.digests: dict[str, bytes] = {}
        """Image id → digest of its file."""
        self.notes: list[str] = []
        """Remarks for the user on how the data set was read."""

    def add(self, file: Path | str, problem: str, advice: str, image_id: str = "") -> None:
        """Adds a problem. image_id: the image whose exclusion solves it."""
        self.problems.append(Problem(str(file), problem, advice, image_id))

    def read_text(self, path: Path) -> Text:
        """Reads a text file of the data set in any supported encoding; adds a remark if the encoding is a guess."""
        text = read_text(path)
        self.notes += [text.remark] if text.remark else []
        return text

    def safe_ids(self, source: Path, ids: Iterable[str]) -> list[str]:
        """The ids that are valid relative paths; adds a problem for every other one."""
        safe = []
        for image_id in ids:
            if reason := id_problem(image_id):
                self.add(
                    source, f"image id {shortened(image_id)} {reason}", "name images below the data set's own folder"
                )
            else:
                safe.append(image_id)
        return safe

    def check(self, entries: Sequence[Entry], num_classes: int) -> set[str]:
        """Opens every image and mask; returns the ids to exclude.

        num_classes: without background; a mask's values are 0..num_classes and 255.

        Raises:
            ValueError: there are problems that are not skipped; names the first one and their number.
        """
        self.open(entries, num_classes)
        self.stop()
        bad = {problem.image_id for problem in self.problems}
        if self.problems and all(entry.image_id in bad for entry in entries):
            raise ValueError(f"no image can be used; the first problem of {len(self.problems)}: {self.problems[0]}")
        return bad

    def open(self, entries: Sequence[Entry], num_classes: int) -> None:
        """Opens every image and mask, and collects the problems."""
        self._check_names(entries)
        with ThreadPoolExecutor(self.workers) as pool:
            looks = pool.map(lambda entry: look_at(entry, num_classes), entries)
            for number, (entry, look) in enumerate(zip(entries, looks, strict=True), start=1):
                self._note(entry, look)
                self.done(number, len(entries))
        self.check_meaning(entries)

    def _check_names(self, entries: Sequence[Entry]) -> None:
        """Adds problems of repeated ids, invalid ids, and ids that share a file."""
        first: dict[str, Entry] = {}
        files: dict[Path, Entry] = {}
        count = Counter(entry.image_id for entry in entries)
        for entry in entries:
            other = files.setdefault(entry.image, entry)
            shared = entry if entry.mask is None else files.setdefault(entry.mask, entry)
            if first.setdefault(entry.image_id, entry) is not entry:
                continue
            if count[entry.image_id] > 1:
                found = f"image id '{entry.image_id}' occurs {count[entry.image_id]} times"
                self.add(entry.image, found, "name every image once")
            elif reason := id_problem(entry.image_id):
                self.add(entry.image, f"image id {entry.image_id!r} {reason}", "rename the file")
            elif other is not entry:
                found = f"has two ids, '{other.image_id}' and '{entry.image_id}'"
                self.add(entry.image, found, "name every image once")
            elif shared is not entry:
                found = f"would be the mask of two images, '{shared.image_id}' and '{entry.image_id}'"
                self.add(entry.mask, found, "give each its own, by its name")

    def _note(self, entry: Entry, look: Look) -> None:
        self.problems += [look.problem] if look.problem else []
        if look.shown is not None:
            self.shown[entry.image_id] = look.shown
        if look.seen is None:
            return
        self.digests[entry.image_id] = look.seen.digest
        if look.seen.depth is not None and look.seen.depth < 16:
            self.shallow.append(entry.image_id)
        if sorted(self.stated.get(entry.image_id, look.seen.size)) != sorted(look.seen.size):
            self.strange.append(entry.image_id)
        if look.seen.turned_unseen and (entry.mask or entry.annotated):
            self.turned.append(entry.image_id)

    def check_meaning(self, entries: Sequence[Entry]) -> None:
        """Adds a problem if all masks are black and white: 255 is void, so that every object would be ignored."""
        if found := black_and_white(self.shown):
            white = next(entry for entry in entries if 255 in self.shown.get(entry.image_id, ()))
            self.add(white.mask, found, AS_IDS)

    def remarks(self, class_names: Sequence[str], rows: Sequence[dict[str, str]]) -> Iterator[str]:
        """Remarks for the user on suspicious but valid files. class_names: background first."""
        yield from dict.fromkeys(self.notes)
        yield from of_names(class_names)
        yield from of_masks(class_names, rows, self.shown)
        if strange := [*dict.fromkeys(self.strange)]:
            found = f"{len(strange)} annotation(s) state another image's name or size, e.g. that of {strange[0]}"
            yield f"{found}; are they of these images?"
        if self.turned:
            yield (
                f"{len(self.turned)} image(s) with masks are turned by EXIF in a way that does not show in their size, "
                f"e.g. {self.turned[0]}; the masks are taken to be of the upright image"
            )
        if self.shallow:
            yield (
                f"{len(self.shallow)} 16-bit image(s) use fewer bits, e.g. {self.shallow[0]}; they are read "
                "as of 8, 10, 12 or 14 bits, whichever holds their highest value"
            )

    def stop(self) -> None:
        """Writes the tables of problems.

        Raises:
            ValueError: there is a problem that is not skipped.
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
        listed = f", listed in {self.out / 'problems.csv'}" if self.out else ""
        more = f" (and {len(self.problems) - 1} more{listed})"
        hint = (
            "" if self.skip or not all(p.image_id for p in reasons) else "; on_bad_image: skip leaves such images out"
        )
        raise ValueError(f"{reasons[0]}{hint}{more if len(self.problems) > 1 else ''}")

    def _name(self, name: str) -> Path | str:
        return self.out / name if self.out else name

    def _write(self, name: str, problems: Sequence[Problem]) -> None:
        """Writes the table of problems, or removes it if there are none."""
        if self.out is None:
            return
        if not problems:
            (self.out / name).unlink(missing_ok=True)
            return
        rows = ([p.image_id, p.file, p.problem, p.advice] for p in problems)
        text = csv_text([["image_id", *COLUMNS], *rows])
        write_atomically(self.out / name, text.encode(errors="backslashreplace"))


def _table(problems: Sequence[Problem]) -> str:
    cells = [COLUMNS, *((p.file, p.problem, p.advice) for p in problems)]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in cells)


def black_and_white(shown: Mapping[str, frozenset[int]]) -> str | None:
    """What is wrong with masks of the values 0 and 255 alone; None of others. shown: image id → values of its mask."""
    if frozenset().union(*shown.values()) - {0} != {255}:
        return None
    return f"it and all other masks hold nothing but 0 and 255 ({len(shown)} masks); 255 is void"


def check_rows(class_names: Sequence[str], rows: Sequence[dict[str, str]], where: str = "data set") -> list[str]:
    """Checks a table of images; remarks on labels and on splits without masks.

    class_names: background first. where: the data set's folder, for messages.

    Raises:
        ValueError: repeated or invalid class names or ids, an empty split, or no training image with a label.
    """
    checked_classes(where, class_names[1:])
    for image_id, count in Counter(row["image_id"] for row in rows).items():
        if reason := "occurs twice" if count > 1 else id_problem(image_id):
            raise ValueError(f"{where}: image id {image_id!r} {reason}")
    for split in ("train", "val"):
        if not any(row["split"] == split for row in rows):
            raise ValueError(f"{where}: split '{split}' is empty; both train and val need images")
    if not any(row["labels"] for row in rows if row["split"] == "train"):
        raise ValueError(f"{where}: no training image has a label; image-level labels are what is learned from")
    return [*of_labels(class_names, rows), *of_measuring(rows)]
