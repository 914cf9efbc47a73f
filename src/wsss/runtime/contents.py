"""Digests of file contents. A cache recognises a file by path, size, times and inode, so that each is read once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path

from wsss.runtime.files import regular, write_atomically

CACHE = Path("results/stages/.content.json")
RACY_SECONDS = 2.0
"""A file modified this shortly before it is read may change again within one time stamp; it is not cached."""
PART = 256
"""Files per task of the thread pool."""
_HEX = 64
"""Characters of a cached digest."""
SAID_BYTES = 64 * 2**20
"""Reads above this size are announced: they take seconds to minutes."""


class Contents:
    """Digests of files, cached in the working directory.

    cache: JSON, path → [size in bytes, times of content and inode in ns, inode, digest]. If it is lost or damaged, the
    files are read again.
    """

    def __init__(self, cache: Path = CACHE) -> None:
        self._cache = cache
        self._known: dict[str, list[int | str]] | None = None
        self._sets: dict[str, str] = {}

    def digest(self, files: Iterable[tuple[str, Path]], what: str) -> str:
        """16 hex digits over the names and contents of files; a file that does not exist counts as `missing`.

        what: name of the files in the message that announces a long read.
        """
        here = os.getcwd()  # noqa: PTH109
        places = ((name, os.path.join(here, path)) for name, path in files)  # noqa: PTH118
        entries = [(name, path, _stat(path)) for name, path in places]
        fresh = self._fresh
        unknown = {path: stat for _, path, stat in entries if stat is not None and not fresh(path, stat)}
        if unknown:
            self._read(unknown, what)
        known = self._load()
        return _digest_of_all((name, "missing" if stat is None else known[path][4]) for name, path, stat in entries)

    def once(self, key: str, files: Callable[[], Iterable[tuple[str, Path]]], what: str) -> str:
        """As `digest`, computed once per key in this process: many runs share a data set."""
        if key not in self._sets:
            self._sets[key] = self.digest(files(), what)
        return self._sets[key]

    def _load(self) -> dict[str, list[int | str]]:
        if self._known is None:
            self._known = {}
            with suppress(OSError, ValueError):
                content = json.loads(regular(self._cache).read_text(encoding="utf-8"))
                known = content.items() if isinstance(content, dict) else ()
                self._known = {k: v for k, v in known if isinstance(v, list) and len(v) == 5 and len(str(v[4])) == _HEX}
        return self._known

    def _fresh(self, path: str, stat: os.stat_result) -> bool:
        entry = self._load().get(path)
        return entry is not None and entry[:4] == _marks(stat)

    def _read(self, unknown: dict[str, os.stat_result], what: str) -> None:
        size = sum(stat.st_size for stat in unknown.values())
        if size > SAID_BYTES:
            print(f"reads {len(unknown)} files of {what} once, {size / 1e9:.1f} GB …", file=sys.stderr, flush=True)
        known, racy = self._load(), set()
        paths, now = list(unknown), time.time()
        parts = [paths[i : i + PART] for i in range(0, len(paths), PART)]
        with ThreadPoolExecutor(4) as pool:
            digests = chain.from_iterable(pool.map(_file_digests, parts))
            for (path, stat), found in zip(unknown.items(), digests, strict=True):
                known[path] = [*_marks(stat), found]
                if now - stat.st_mtime < RACY_SECONDS:
                    racy.add(path)
        lasting = {path: entry for path, entry in known.items() if path not in racy}
        with suppress(OSError):  # a folder that cannot be written costs time, nothing else
            write_atomically(self._cache, json.dumps(lasting))


def digest_of(name: str, sha256: str) -> str:
    """The result of `Contents.digest` for a single file of this name and SHA-256."""
    return _digest_of_all([(name, sha256)])


def _digest_of_all(contents: Iterable[tuple[str, str]]) -> str:
    """16 hex digits over (name, content) of files."""
    whole = hashlib.sha256()
    for name, content in contents:
        whole.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()[:16]


def _marks(stat: os.stat_result) -> list[int]:
    """What changes with a file's content: tools that turn a photograph in place can keep its size and first time."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None


def _file_digests(paths: Sequence[str]) -> list[str]:
    return [_file_digest(path) for path in paths]


def _file_digest(path: str) -> str:
    """SHA-256 of a file's bytes in hex; for a file that cannot be read, the reason, padded to the same length."""
    try:
        with regular(Path(path)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}".ljust(_HEX)
    except ValueError:
        return "unreadable: no file".ljust(_HEX)
