"""Digests of files by content, each file read once: a cache knows it again by name, size and time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from wsss.runtime.files import write_atomically

CACHE = Path("results/stages/.content.json")
RACY_SECONDS = 2.0
"""A file changed so shortly before it is read may change again under the same time; it is not remembered."""
SAID_BYTES = 64 * 2**20
"""Reading more than this is said beforehand: it takes seconds to minutes."""


class Contents:
    """Digests of files under the working directory's cache.

    cache: JSON, path → [size, time in ns, inode, digest]. It may be lost or damaged at any time: then files are read.
    """

    def __init__(self, cache: Path = CACHE) -> None:
        self._cache = cache
        self._known: dict[str, list[int | str]] | None = None

    def digest(self, files: Iterable[tuple[str, Path]], what: str) -> str:
        """16 hex digits over the names and contents of files; a file that is not there counts as missing.

        what: is read, for the line that says so.
        """
        entries = [(name, os.path.abspath(path), _stat(path)) for name, path in files]  # noqa: PTH100
        unknown = {path: stat for _, path, stat in entries if stat is not None and not self._fresh(path, stat)}
        if unknown:
            self._read(unknown, what)
        whole = hashlib.sha256()
        for name, path, stat in entries:
            content = "missing" if stat is None else self._known_digest(path)
            whole.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
        return whole.hexdigest()[:16]

    def _load(self) -> dict[str, list[int | str]]:
        if self._known is None:
            self._known = {}
            with suppress(OSError, ValueError):
                content = json.loads(self._cache.read_text())
                self._known = {k: v for k, v in content.items() if isinstance(v, list) and len(v) == 4}
        return self._known

    def _fresh(self, path: str, stat: os.stat_result) -> bool:
        return self._load().get(path, [None])[:3] == [stat.st_size, stat.st_mtime_ns, stat.st_ino]

    def _known_digest(self, path: str) -> str:
        return str(self._load()[path][3])

    def _read(self, unknown: dict[str, os.stat_result], what: str) -> None:
        size = sum(stat.st_size for stat in unknown.values())
        if size > SAID_BYTES:
            print(f"reads {len(unknown)} files of {what} once, {size / 1e9:.1f} GB …", file=sys.stderr, flush=True)
        known, racy = self._load(), set()
        with ThreadPoolExecutor(4) as pool:
            for (path, stat), found in zip(unknown.items(), pool.map(_file_digest, unknown), strict=True):
                known[path] = [stat.st_size, stat.st_mtime_ns, stat.st_ino, found]
                if time.time() - stat.st_mtime < RACY_SECONDS:
                    racy.add(path)
        lasting = {path: entry for path, entry in known.items() if path not in racy}
        with suppress(OSError):  # a folder that cannot be written costs time, nothing else
            write_atomically(self._cache, json.dumps(lasting))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None


def _file_digest(path: str) -> str:
    """BLAKE2b of a file's bytes; a file that cannot be read is a content of its own."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
