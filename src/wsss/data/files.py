"""Files of a data set: accepted suffixes, listing below a folder, and search by name."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from wsss.data.text import read_text
from wsss.runtime.contents import CACHE
from wsss.runtime.targets import fold

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")
"""Suffixes of images, in lower or upper case."""
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Suffixes of masks: lossless formats, which keep class ids."""

MASK_ADVICE = f"save masks as {', '.join(MASK_SUFFIXES)} of class ids"
NO_MASKS = (*sorted(set(SUFFIXES) - set(MASK_SUFFIXES)), ".npy", ".npz", ".mat")
"""Suffixes of masks in formats that change class ids, or that are not read."""

ADDED = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that archives and disks of other systems add: copies, thumbnails and lost files."""

UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
UNREAD += (".ppm", ".pgm", ".pbm", ".tga", ".psd", ".svg", ".exr", ".dcm", ".ico")
"""Suffixes of photographs in formats that are not supported."""


def files_below(folder: Path, name: str = "", suffixes: Sequence[str] = SUFFIXES) -> Iterator[tuple[str, Path]]:
    """(`name`/path, file) of every image below a folder, linked folders included, sorted by path.

    Left out are hidden files and folders, those that archives and disks of other systems add, links to a folder above
    themselves, and the results of runs that were started within the folder.

    Raises:
        PermissionError: a folder may not be read.
    """
    wanted = tuple(suffixes)
    for top, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_closed):
        folders[:] = sorted(f for f in folders if not is_passed_over(Path(top, f)) and not _leads_back(folder, top, f))
        below = os.path.relpath(top, folder)
        prefix = "/".join(part for part in (name, "" if below == "." else below) if part)
        images = (f for f in sorted(files) if f.lower().endswith(wanted) and not f.startswith("."))
        yield from ((f"{prefix}/{file}" if prefix else file, Path(top, file)) for file in images)


def without_suffix(name: str) -> str:
    """The name of an image file without its suffix, in lower or upper case."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def is_passed_over(folder: Path) -> bool:
    """Whether a folder is hidden, added by another system, or holds results of runs."""
    return folder.name.startswith(".") or folder.name in ADDED or Path(folder, *CACHE.parts[1:]).is_file()


def _refuse_closed(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def unread(folder: Path) -> str | None:
    """One line on the photographs below a folder in unsupported formats; None if there are none."""
    found = sorted(path for _, path in files_below(folder, suffixes=UNREAD))
    if not found:
        return None
    kinds = Counter(path.suffix.lower() for path in found).most_common()
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"not read under {folder}: {counts}, e.g. {found[0].name}; save them as JPEG or PNG"


def unread_masks(folder: Path) -> str | None:
    """One line on the files below a folder of masks in formats that are not read; None if there are none."""
    found = [path for _, path in files_below(folder, suffixes=NO_MASKS)]
    if not found:
        return None
    return f"{len(found)} file(s) in '{folder}' are not read as masks, e.g. {found[0].name}; {MASK_ADVICE}"


def _leads_back(root: Path, top: str, name: str) -> bool:
    """Whether a link in `top` leads to a folder on the path from `root` to it."""
    link = Path(top, name)
    if not link.is_symlink():
        return False
    way = [Path(top), *(parent for parent in Path(top).parents if parent.is_relative_to(root))]
    return any(Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(link)) for folder in way)


def keys_of(file: Path) -> frozenset[str]:
    """The keys of the object in a JSON file; none if it has another content."""
    try:
        content = json.loads(read_text(file).text)
    except (OSError, ValueError, RecursionError):
        return frozenset()
    return frozenset(content) if isinstance(content, dict) else frozenset()


class Finder:
    """Finds files below a folder by path without suffix: exactly, else ignoring case and Unicode form."""

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder, self.suffixes = folder, suffixes
        self.doubled: dict[str, list[Path]] = {}
        """The files of names that were looked for and have several, which differ in their suffixes."""

    def __call__(self, name: str) -> Path | None:
        """The file of a name; None if there is none, or several."""
        exact, folded = self._tables
        hits = exact.get(name) or folded.get(fold(name), [])
        stems = {hit.with_suffix("") for hit in hits}
        if len(stems) != 1:
            return None
        if len(hits) > 1:
            self.doubled[name] = hits
        return min(hits, key=lambda hit: self.suffixes.index(hit.suffix.lower()))

    def remark(self) -> str | None:
        """One line on the names that have several files; None if there are none."""
        if not self.doubled:
            return None
        name, hits = next(iter(self.doubled.items()))
        found = " and ".join(sorted(hit.name for hit in hits))
        several = f"{len(self.doubled)} name(s) have several files in '{self.folder}', e.g. {found}"
        return f"{several}; {self(name).name} is used"

    @cached_property
    def files(self) -> list[Path]:
        """All files below the folder."""
        return [path for _, path in files_below(self.folder, suffixes=self.suffixes)]

    @cached_property
    def _tables(self) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
        exact: dict[str, list[Path]] = defaultdict(list)
        folded: dict[str, list[Path]] = defaultdict(list)
        for path in self.files:
            name = path.relative_to(self.folder).with_suffix("").as_posix()
            exact[name].append(path)
            folded[fold(name)].append(path)
        return exact, folded
